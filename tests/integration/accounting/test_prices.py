"""The price book: versions, overrides, imports, and calls priced as they were admitted."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import grpc
import pytest

from chassis.database import Connection
from headgate.api.accounting.v1 import accounting_pb2 as pb
from headgate.api.common.v1 import price_pb2
from services.accounting.domain.pricebook import CataloguePrice
from services.accounting.domain.pricing import Price, Rate
from services.accounting.domain.usage import Booking, CostBasis, Meter
from tests.integration.accounting.refusals import refusal
from tests.integration.accounting.replicas import Open, Replica, Stub
from tests.integration.accounting.samples import (
    MODEL,
    PROVIDER,
    SAMPLE_BOOK,
    SAMPLE_NANOS,
    message,
    report,
)


def flat(nanos: int) -> Price:
    """A price at which the sample report costs `nanos` times 110."""
    return Price({Meter.INPUT: Rate(nanos * 10**6), Meter.OUTPUT: Rate(nanos * 10**6)})


def put(nanos: int, audit_id: str, *, org: str = "") -> pb.PutPriceRequest:
    meters = [
        price_pb2.MeterPrice(meter=meter, nanos_per_million=nanos * 10**6)
        for meter in (price_pb2.METER_INPUT, price_pb2.METER_OUTPUT)
    ]
    return pb.PutPriceRequest(
        price=price_pb2.ModelPrice(provider=PROVIDER, model=MODEL, org=org, meters=meters),
        audit_id=audit_id,
    )


def delete(audit_id: str, *, org: str = "") -> pb.DeletePriceRequest:
    return pb.DeletePriceRequest(provider=PROVIDER, model=MODEL, org=org, audit_id=audit_id)


async def cost(replica: Replica, **changes: Any) -> int:
    (answer,) = await replica.ledger.record([report(**changes)])
    assert isinstance(answer, Booking), answer
    return answer.total_nanos


async def test_a_call_is_priced_at_the_version_of_its_admission(replica: Replica) -> None:
    target = {"provider": PROVIDER, "model": MODEL, "org": ""}
    await replica.prices.put(**target, price=flat(7), audit_id="a")
    await replica.prices.put(**target, price=flat(9), audit_id="b")
    await replica.prices.delete(**target, audit_id="c")

    costs = [await cost(replica, price_version=version) for version in (1, 2, 3, 4, 99)]

    assert costs == [SAMPLE_NANOS, 7 * 110, 9 * 110, SAMPLE_NANOS, SAMPLE_NANOS]


async def test_an_override_is_for_its_org(replica: Replica) -> None:
    await replica.prices.put(
        provider=PROVIDER, model=MODEL, org="acme", price=flat(7), audit_id="a"
    )

    assert await cost(replica, org="acme", price_version=2) == 7 * 110
    assert await cost(replica, org="globex", price_version=2) == SAMPLE_NANOS


async def test_a_replica_that_lags_behind_reads_the_version_it_is_asked_for(start: Open) -> None:
    behind, ahead = await start(), await start()
    entry = await ahead.prices.put(
        provider=PROVIDER, model=MODEL, org="", price=flat(7), audit_id="a"
    )

    assert behind.prices.book.version == 1
    assert await cost(behind, price_version=entry.since_version) == 7 * 110
    assert behind.prices.book.version == 2


async def test_a_replica_follows_changes_by_itself(
    start: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.accounting.prices.POLL_SECONDS", 0.001)
    behind, ahead = await start(), await start()
    following = asyncio.create_task(behind.prices.follow())
    await ahead.prices.put(provider=PROVIDER, model=MODEL, org="", price=flat(7), audit_id="a")

    async with asyncio.timeout(5):
        while behind.prices.book.version == 1:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.001)
    following.cancel()

    await asyncio.wait({following})
    assert following.cancelled()


async def test_usage_without_a_price_is_booked_at_its_hold_and_counted(
    replica: Replica, admin: Connection
) -> None:
    (answer,) = await replica.ledger.record([report(model="unheard-of", held_nanos=77)])

    assert answer == Booking(77, CostBasis.HOLD, revision=1, first=True)
    row = await admin.fetchrow(
        "SELECT unreported_count, unreported_cost_nanos FROM rollup_org_day"
    )
    assert row is not None
    assert tuple(row) == (1, 77)


async def test_the_book_is_sent_once_per_version(stub: Stub) -> None:
    first = await stub.GetPriceBook(pb.GetPriceBookRequest())
    again = await stub.GetPriceBook(pb.GetPriceBookRequest(known_version=first.version))
    await stub.PutPrice(put(7, "a"))
    changed = await stub.GetPriceBook(pb.GetPriceBookRequest(known_version=first.version))
    ahead = await stub.GetPriceBook(pb.GetPriceBookRequest(known_version=99))

    assert (first.version, len(first.prices)) == (1, len(SAMPLE_BOOK))
    assert (again.version, len(again.prices)) == (1, 0)
    assert (changed.version, len(changed.prices)) == (2, len(SAMPLE_BOOK))
    assert (ahead.version, len(ahead.prices)) == (2, 0)


async def test_the_book_says_all_that_a_price_is(stub: Stub) -> None:
    book = await stub.GetPriceBook(pb.GetPriceBookRequest())

    found = next(each for each in book.prices if each.model == "gemini-2.5-pro")
    assert (found.provider, found.org, found.source) == ("google", "", "catalogue")
    assert found.start_time.seconds > 0
    meters = {each.meter: each for each in found.meters}
    assert meters[price_pb2.METER_CACHE_READ].nanos_per_million == 125_000_000
    (tier,) = meters[price_pb2.METER_INPUT].tiers
    assert (tier.input_token_threshold, tier.nanos_per_million) == (200_000, 2_500_000_000)


async def test_overrides_are_in_the_book_beside_what_others_pay(stub: Stub) -> None:
    stored = await stub.PutPrice(put(7, "a", org="acme"))
    book = await stub.GetPriceBook(pb.GetPriceBookRequest())

    sources = {(each.org, each.source) for each in book.prices if each.model == MODEL}
    assert sources == {("", "catalogue"), ("acme", "override")}
    assert (stored.version, stored.price.source, stored.price.org) == (2, "override", "acme")
    assert stored.price in book.prices


async def test_a_change_repeated_with_its_audit_id_is_made_once(
    stub: Stub, admin: Connection
) -> None:
    first = await stub.PutPrice(put(7, "a"))
    await stub.PutPrice(put(8, "b"))

    assert await stub.PutPrice(put(7, "a")) == first
    assert await admin.fetchval("SELECT version FROM price_book") == 3

    ended = await stub.DeletePrice(delete("c"))
    assert await stub.DeletePrice(delete("c")) == ended
    assert ended.version == 4
    assert await admin.fetchval("SELECT version FROM price_book") == 4


async def test_an_audit_id_reused_for_another_change_is_refused(
    stub: Stub, admin: Connection
) -> None:
    await stub.PutPrice(put(7, "a"))
    await stub.PutPrice(put(7, "b", org="acme"))
    await stub.DeletePrice(delete("c", org="acme"))

    for call in (
        stub.PutPrice(put(8, "a")),
        stub.DeletePrice(delete("a")),
        stub.PutPrice(put(7, "c", org="acme")),
    ):
        error = await refusal(call)
        assert (error.code, error.reason) == (grpc.StatusCode.ALREADY_EXISTS, "ID_REUSED")
    assert await admin.fetchval("SELECT version FROM price_book") == 4


async def test_ending_what_is_not_there_says_so(stub: Stub, admin: Connection) -> None:
    error = await refusal(stub.DeletePrice(delete("a")))

    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "PRICE_NOT_FOUND")
    assert await admin.fetchval("SELECT version FROM price_book") == 1
    assert await admin.fetchval("SELECT count(*) FROM change_log") == 0


async def test_changes_are_logged_with_before_and_after(stub: Stub, admin: Connection) -> None:
    await stub.PutPrice(put(7, "a"))
    await stub.PutPrice(put(8, "b"))
    await stub.DeletePrice(delete("c"))

    rows = await admin.fetch(
        "SELECT audit_id, target, version, before->'input'->>'nanos' AS before,"
        " after->'input'->>'nanos' AS after FROM change_log ORDER BY version"
    )

    target = f"price//{PROVIDER}/{MODEL}"
    assert [tuple(row) for row in rows] == [
        ("a", target, 2, None, "7000000"),
        ("b", target, 3, "7000000", "8000000"),
        ("c", target, 4, "8000000", None),
    ]


async def test_concurrent_changes_each_make_a_version_of_their_own(
    start: Open, admin: Connection
) -> None:
    replicas = [await start() for _ in range(2)]
    entries = await asyncio.gather(
        *[
            replicas[number % 2].prices.put(
                provider=PROVIDER, model=MODEL, org="", price=flat(number), audit_id=f"a-{number}"
            )
            for number in range(1, 9)
        ]
    )

    assert sorted(each.since_version for each in entries) == list(range(2, 10))
    in_force = (
        "SELECT count(*) FROM model_price WHERE until_version IS NULL AND source = 'override'"
    )
    assert await admin.fetchval(in_force) == 1


def offered(*prices: tuple[str, int]) -> Sequence[CataloguePrice]:
    return [
        CataloguePrice(provider="p", model=model, price=flat(nanos)) for model, nanos in prices
    ]


async def test_an_import_repeated_changes_nothing(replica: Replica, admin: Connection) -> None:
    first, _ = await replica.price_store.import_catalogue(offered(("m", 1), ("n", 2)))
    before = await admin.fetch("SELECT * FROM model_price ORDER BY price_id")

    second, change = await replica.price_store.import_catalogue(offered(("m", 1), ("n", 2)))

    assert (first, second) == (2, 2)
    assert (change.written, change.unchanged_count) == ((), 2)
    assert await admin.fetch("SELECT * FROM model_price ORDER BY price_id") == before


async def test_an_import_ends_the_price_that_it_replaces_and_keeps_what_is_gone(
    replica: Replica,
) -> None:
    await replica.price_store.import_catalogue(offered(("m", 1), ("n", 2)))
    version, change = await replica.price_store.import_catalogue(offered(("m", 5)))
    book = await replica.prices.refresh()

    def nanos(model: str, version: int) -> Price | None:
        return book.price_at(version, provider="p", model=model, org="acme")

    assert (version, change.replaced_count) == (3, 1)
    assert [nanos("m", at) for at in (1, 2, 3)] == [None, flat(1), flat(5)]
    assert [nanos("n", at) for at in (2, 3)] == [flat(2), flat(2)]


async def test_an_override_survives_an_import(replica: Replica) -> None:
    await replica.prices.put(provider="p", model="m", org="", price=flat(9), audit_id="a")
    await replica.price_store.import_catalogue(offered(("m", 1)))
    book = await replica.prices.refresh()

    assert book.price_at(book.version, provider="p", model="m", org="acme") == flat(9)


async def test_imports_at_once_make_one_version(start: Open) -> None:
    replicas = [await start() for _ in range(3)]
    results = await asyncio.gather(
        *[each.price_store.import_catalogue(offered(("m", 1))) for each in replicas]
    )

    assert [version for version, _ in results] == [2, 2, 2]
    assert sorted(len(change.written) for _, change in results) == [0, 0, 1]


async def test_a_price_that_no_report_can_need_any_more_is_not_read(
    start: Open, admin: Connection
) -> None:
    replica = await start()
    target = {"provider": PROVIDER, "model": MODEL, "org": ""}
    await replica.prices.put(**target, price=flat(7), audit_id="a")
    await replica.prices.put(**target, price=flat(8), audit_id="b")
    await admin.execute(
        "UPDATE model_price SET end_time = end_time - interval '36 days 1 minute'"
        " WHERE until_version IS NOT NULL"
    )

    _, entries = await replica.price_store.list_changes(0)

    assert flat(7) not in [each.price for each in entries]
    assert flat(8) in [each.price for each in entries]


async def test_a_record_over_the_wire_tells_cost_and_basis(stub: Stub) -> None:
    response = await stub.Record(
        pb.RecordRequest(reports=[message(), message(meters=None), message()])
    )

    assert [each.booking.total_nanos for each in response.results] == [
        SAMPLE_NANOS,
        50_000,
        SAMPLE_NANOS,
    ]
    assert [each.booking.cost_basis for each in response.results] == [1, 2, 1]
    assert all(each.booking.revision == 1 for each in response.results)
