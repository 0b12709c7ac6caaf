"""A call's whole life beside a bare echo, and beside the same work done in Postgres alone.

Alone means: the statements of admission and accounting, in batches that gather in the same way, in
one process, without any RPC, permit, price or rule of the gateway. `python -m bench.accounting
--cycle` runs it.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import sys
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, Final, Protocol, TypeAlias

import grpc
from pydantic import SecretStr

from bench import backend as backends
from bench.backend import Backend
from bench.load import run_closed
from bench.system import Endpoints, running_echo, running_system
from chassis.database import connect
from headgate.batching import Batcher
from headgate.ids import IdMaker
from services.accounting.domain.meters import MeterCounts
from services.accounting.domain.usage import Booking, Charge, CostBasis, Entry, Outcome, Report
from services.accounting.store import LogWriter, Result
from services.admission.config import AdmissionSettings
from services.admission.domain.calls import CallKey, Candidate, Ended, Held, Reserve, Settle
from services.admission.engine import Engine, open_engine

CALLER_COUNT: Final = 64
# What is measured takes turns: a machine that is slower for a while is so for all of it.
ROUND_COUNT: Final = 3
ROUND_SECONDS: Final = 4.0
# Calls that are admitted beforehand, for each round that completes them.
COMPLETION_COUNT: Final = 6_000
HOLD_DURATION: Final = dt.timedelta(minutes=10)
COST_NANOS: Final = 171_000

Drained: TypeAlias = tuple[int, float]


class Side(Protocol):
    """Whoever takes calls through their lives."""

    async def start(self) -> Any:
        """Admits a call; returns what completes it."""

    async def end(self, ticket: Any) -> None:
        """Completes a call."""


class Alone:
    """Postgres alone."""

    def __init__(self, engine: Engine, log: LogWriter) -> None:
        self._reservations = engine.reservations
        self._log: Batcher[Entry, Result] = Batcher(partial(_write, log))
        self._ids, self._number = IdMaker(), 0

    async def start(self) -> Held:
        """Holds on every counter that the gateway's call holds on."""
        self._number += 1
        org = f"bench-{self._number % backends.ORG_COUNT}"
        reserve = Reserve(
            key=CallKey(org, uuid.UUID(self._ids.make())),
            fingerprint=b"\0" * 32,
            operation=backends.OPERATION,
            candidates=(Candidate("openai", "gpt-4o-mini", 10 * COST_NANOS, 0, 676),),
            hold_duration=HOLD_DURATION,
            price_version=1,
        )
        held = await self._reservations.submit(reserve)
        assert isinstance(held, Held), held
        return held

    async def end(self, ticket: Held) -> None:
        """Books the call, then settles its hold."""
        call = ticket.reservation
        report = Report(
            org=call.key.org,
            call_id=call.key.call_id,
            operation=call.operation,
            provider=call.provider,
            model=call.model,
            admit_time=call.admit_time,
            price_version=1,
            held_nanos=call.held_nanos,
            outcome=Outcome.SUCCEEDED,
            meters=MeterCounts(input=420, output=180),
            api_key_id="k_bench",
        )
        charge = Charge(COST_NANOS, CostBasis.METERS)
        booking = await self._log.submit(Entry(report, charge, b"\0" * 16))
        assert isinstance(booking, Booking), booking
        ended = await self._reservations.submit(Settle(call.key, 1, COST_NANOS, 600))
        assert isinstance(ended, Ended), ended

    async def aclose(self) -> None:
        """Waits for what is under way."""
        await self._log.close()


async def _write(log: LogWriter, entries: Sequence[Entry]) -> Sequence[Result | Exception]:
    return await log.write(entries)


def run_cycle() -> dict[str, float]:
    """Returns calls a second: of the echo, of the cycle and of completions, real and alone."""
    with running_system() as endpoints:
        return asyncio.run(_measure(endpoints))


async def _measure(endpoints: Endpoints) -> dict[str, float]:
    async with AsyncExitStack() as stack:
        channel = await stack.enter_async_context(_connect(endpoints.gateway))
        keys = await backends.prepare(channel, endpoints.admin_key)
        real = Backend(channel, keys)
        answer = (await real.fetch_answer()).SerializeToString()
        echo_address = stack.enter_context(running_echo(answer))
        echo = Backend(await stack.enter_async_context(_connect(echo_address)), keys)
        alone = await stack.enter_async_context(_open_alone(endpoints))
        sums: dict[str, tuple[float, float]] = {}
        for number in range(1, ROUND_COUNT + 1):
            print(f"round {number} of {ROUND_COUNT}: cycles", file=sys.stderr, flush=True)
            sample = await run_closed(
                echo.admit, dict, callers=CALLER_COUNT, seconds=ROUND_SECONDS
            )
            found = {"echo-64": (sample.call_count, sample.seconds)}
            for suffix, side in (("", real), ("-alone", alone)):
                found[f"cycle-64{suffix}"] = await _cycle(side)
                found[f"complete-64{suffix}"] = await _complete(side)
            for name, (count, seconds) in found.items():
                whole = sums.get(name, (0, 0.0))
                sums[name] = (whole[0] + count, whole[1] + seconds)
    return {name: count / seconds for name, (count, seconds) in sums.items()}


async def _cycle(side: Side) -> Drained:
    async def live() -> int:
        await side.end(await side.start())
        return 1

    sample = await run_closed(live, dict, callers=CALLER_COUNT, seconds=ROUND_SECONDS)
    assert not sample.error_count, sample.first_error
    return sample.call_count, sample.seconds


async def _complete(side: Side) -> Drained:
    tickets: deque[Any] = deque()

    async def admit() -> None:
        tickets.append(await side.start())

    async def complete() -> None:
        await side.end(tickets.popleft())

    await _repeat(admit, COMPLETION_COUNT)
    return await _repeat(complete, COMPLETION_COUNT)


async def _repeat(work: Callable[[], Awaitable[None]], count: int) -> Drained:
    left = count

    async def call() -> None:
        nonlocal left
        while left:
            left -= 1
            await work()

    begin = time.perf_counter()
    await asyncio.gather(*(call() for _ in range(CALLER_COUNT)))
    return count, time.perf_counter() - begin


@asynccontextmanager
async def _open_alone(endpoints: Endpoints) -> AsyncIterator[Alone]:
    url = endpoints.content["database_url"]
    settings = AdmissionSettings(
        database_url=url,
        service_token=SecretStr(endpoints.service_token),
        accounting_addresses=endpoints.content["accounting"],
    )
    log = LogWriter(partial(connect, url, application_name="bench", schema="accounting"))
    async with open_engine(settings, name="bench") as engine:
        alone = Alone(engine, log)
        yield alone
        await alone.aclose()
    await log.close()


def _connect(address: str) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)])
