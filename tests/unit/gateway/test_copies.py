"""What a gateway remembers of prices and tells of outcomes: bounded, and never made worse."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from typing import Any

import grpc
import pytest
from grpc.aio import AioRpcError, Metadata
from opentelemetry.metrics import NoOpMeterProvider

from chassis.errors import NotFound, PeerUnavailable
from gateway import observations
from gateway.observations import BATCH_SIZE_MAX, WAITING_COUNT_MAX, Observations
from gateway.prices import PRICES_AT_ONCE, Prices, build_book
from gateway.route_store import RouteBook
from gateway.routes import Routes
from headgate.api.accounting.v1 import accounting_pb2
from headgate.api.common.v1 import price_pb2
from headgate.api.health.v1 import health_pb2
from tests.unit.gateway.calls import ROUTE

METER = NoOpMeterProvider().get_meter("tests")
LOST = AioRpcError(grpc.StatusCode.UNAVAILABLE, Metadata(), Metadata())
MILLION = 1_000_000


def price(org: str = "", nanos: int = 150, model: str = "gpt-4o-mini") -> price_pb2.ModelPrice:
    return price_pb2.ModelPrice(
        provider="openai",
        model=model,
        org=org,
        meters=[
            price_pb2.MeterPrice(
                meter=price_pb2.METER_INPUT,
                nanos_per_million=nanos * MILLION,
                tiers=[
                    price_pb2.PriceTier(
                        input_token_threshold=1_000, nanos_per_million=2 * nanos * MILLION
                    )
                ],
            ),
            price_pb2.MeterPrice(
                meter=price_pb2.METER_OUTPUT, nanos_per_million=4 * nanos * MILLION
            ),
        ],
    )


class Accounting:
    """Answers pulls with what it was told to."""

    def __init__(self, *answers: accounting_pb2.GetPriceBookResponse | Exception) -> None:
        self._answers = list(answers)
        self.asked: list[int] = []
        self.exhausted = asyncio.Event()

    async def pull(self, known_version: int) -> accounting_pb2.GetPriceBookResponse:
        self.asked.append(known_version)
        if not self._answers:
            self.exhausted.set()
            return accounting_pb2.GetPriceBookResponse()
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def book(version: int, *prices: price_pb2.ModelPrice) -> accounting_pb2.GetPriceBookResponse:
    return accounting_pb2.GetPriceBookResponse(version=version, prices=prices)


async def test_calls_pass_while_thousands_of_prices_are_read() -> None:
    prices = [price(model=f"m{number}") for number in range(2 * PRICES_AT_ONCE)]
    building = asyncio.create_task(build_book(1, prices))
    turns = 0
    while not building.done():
        await asyncio.sleep(0)
        turns += 1

    assert turns >= 3
    assert len((await building).platform) == len(prices)


async def test_without_a_book_nobody_is_told_that_a_model_has_no_price() -> None:
    prices = Prices(Accounting().pull)

    with pytest.raises(PeerUnavailable) as refused:
        prices.current()
    with pytest.raises(RuntimeError, match="no price book"):
        await prices.check_ready()
    assert refused.value.metadata == {"peer": "accounting"}


async def test_versions_only_go_up() -> None:
    accounting = Accounting(book(5, price()), book(5), book(4, price(nanos=1)), book(6, price()))
    prices = Prices(accounting.pull)
    versions = []
    for _ in range(4):
        await prices.refresh()
        versions.append(prices.current().version)

    assert versions == [5, 5, 5, 6]
    assert accounting.asked == [0, 5, 5, 5]
    await prices.check_ready()


async def test_a_pull_that_fails_changes_nothing_and_is_repeated() -> None:
    outage = PeerUnavailable("accounting")
    accounting = Accounting(book(5, price()), outage, outage, book(6, price()))
    prices = Prices(accounting.pull)
    pulling = asyncio.create_task(prices.keep_fresh(interval_seconds=0))
    await asyncio.wait_for(accounting.exhausted.wait(), 5)
    pulling.cancel()

    assert accounting.asked[:5] == [0, 5, 5, 5, 6]
    assert prices.current().version == 6


class RouteStore:
    """Routes with a version; the reads that it is told of fail."""

    def __init__(self, *failing: int) -> None:
        self._failing = failing
        self._read_count = 0
        self.list_count = 0
        self.read = asyncio.Event()

    async def renew_reader(self, reader_id: uuid.UUID, version: int) -> None:
        pass

    async def remove_reader(self, reader_id: uuid.UUID) -> None:
        raise ConnectionRefusedError

    async def fetch_route_version(self) -> int:
        self._read_count += 1
        if self._read_count in self._failing:
            raise ConnectionRefusedError
        return self._read_count

    async def list_all_routes(self) -> RouteBook:
        self.list_count += 1
        if self._read_count > 5:
            self.read.set()
        # What is read is newer than the version that was asked for before.
        return RouteBook(version=self._read_count + 1, routes=(ROUTE,))

    async def list_all_orgs(self) -> dict[str, Any]:
        return {}

    async def list_all_templates(self) -> dict[str, Any]:
        return {}


async def test_routes_survive_an_outage_of_their_database() -> None:
    store: Any = RouteStore(2, 3)
    routes = Routes(store)
    polling = asyncio.create_task(routes.keep_fresh(interval_seconds=0))
    await asyncio.wait_for(store.read.wait(), 5)
    polling.cancel()

    assert routes.find("summarize") is ROUTE
    with pytest.raises(NotFound):
        routes.find("chat")


async def test_routes_that_may_be_old_are_read_once_for_all_who_ask() -> None:
    store: Any = RouteStore()
    routes = Routes(store)

    assert routes.may_be_old()
    await asyncio.gather(*(routes.look_again() for _ in range(3)))
    assert store.list_count == 1
    assert routes.find("summarize") is ROUTE


async def test_a_database_that_is_away_stops_no_call_and_is_asked_once_in_a_while() -> None:
    store: Any = RouteStore(1)
    routes = Routes(store)

    await routes.look_again()

    assert not routes.may_be_old()
    with pytest.raises(NotFound):
        routes.find("summarize")


async def test_whoever_cannot_say_that_it_leaves_leaves_all_the_same() -> None:
    store: Any = RouteStore()

    await Routes(store).leave()


def observation(number: int) -> health_pb2.Observation:
    return health_pb2.Observation(provider="openai", breaker_epoch=number)


class HealthEar:
    """Hears outcomes, in batches; may be away."""

    def __init__(self) -> None:
        self.heard: list[list[int]] = []
        self.failures = 0

    async def observe(self, batch: Sequence[health_pb2.Observation]) -> None:
        if self.failures:
            self.failures -= 1
            raise LOST
        self.heard.append([each.breaker_epoch for each in batch])


async def drained(told: Observations) -> None:
    running = asyncio.create_task(told.run())
    await told.drain()
    running.cancel()


async def test_outcomes_are_told_in_order_and_in_batches() -> None:
    ear = HealthEar()
    told = Observations(ear.observe, METER)
    for number in range(BATCH_SIZE_MAX + 2):
        told.put(observation(number))
    await drained(told)

    assert [len(batch) for batch in ear.heard] == [BATCH_SIZE_MAX, 2]
    assert [each for batch in ear.heard for each in batch] == list(range(BATCH_SIZE_MAX + 2))
    assert told.dropped_count == 0


async def test_what_health_did_not_take_is_dropped_and_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(observations, "PAUSE_SECONDS", 0)
    ear = HealthEar()
    ear.failures = 1
    told = Observations(ear.observe, METER)
    for number in range(BATCH_SIZE_MAX + 1):
        told.put(observation(number))
    await drained(told)

    assert ear.heard == [[BATCH_SIZE_MAX]]
    assert told.dropped_count == BATCH_SIZE_MAX


async def test_of_too_many_outcomes_the_oldest_go() -> None:
    ear = HealthEar()
    told = Observations(ear.observe, METER)
    for number in range(WAITING_COUNT_MAX + 3):
        told.put(observation(number))
    await drained(told)

    assert told.dropped_count == 3
    assert ear.heard[0][0] == 3


async def test_a_drain_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observations, "DRAIN_SECONDS_MAX", 0.01)
    told = Observations(HealthEar().observe, METER)
    told.put(observation(1))

    # Nobody runs it.
    await told.drain()

    assert told.dropped_count == 1
