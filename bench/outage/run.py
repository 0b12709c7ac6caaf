"""One run: the system, the provider, the callers and what happens to them."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc

from bench import backend as backends
from bench.outage import evidence as reading
from bench.outage.callers import ONE, PROVIDERS, TWO, Callers, Seen, count
from bench.outage.evidence import Evidence
from bench.outage.script import Phase, Script, Window
from bench.system import Endpoints
from headgate.api.common.v1 import call_pb2
from headgate.api.gateway.v1 import admin_pb2
from local.demo import stand_in
from local.demo.operator import Operator
from local.demo.provider.bill import load_prices
from local.demo.stage import FAILING_PROVIDER, FALLBACK_TEXT, OPENAI, render_price
from local.demo.stand_in import StandInProcess

ORG_COUNT: Final = 3
HOLD_SECONDS: Final = 90
READY_SECONDS_MAX: Final = 60.0
POLL_SECONDS: Final = 0.25
# Calls go back to the provider when one of so many last ones did.
RECENT_COUNT: Final = 60
ROUTES: Final = {TWO: PROVIDERS, ONE: PROVIDERS[:1]}

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A run, and what there is to judge it by."""

    seen: Sequence[Seen]
    windows: Sequence[Window]
    evidence: Evidence
    seconds: float
    # Of Headgate itself.
    incident_count: int
    # From the end of the script until the provider had its calls back. None: it never did.
    recovery_seconds: float | None


async def play(script: Script, endpoints: Endpoints, folder: Path, say: Say) -> Result:
    """Plays the script under load and gathers the evidence."""
    database_url = endpoints.content["database_url"]
    async with _stage(script, endpoints, folder) as (provider, callers, orgs):
        start = await reading.database_time(database_url)
        stop = asyncio.Event()
        calling = asyncio.create_task(callers.run(script.rate, stop))
        try:
            windows = [await _play(phase, provider, callers, say) for phase in script.phases]
            ended = callers.now
            recovered = await _recover(script, callers, database_url)
        finally:
            stop.set()
            seconds = callers.now
            await calling
    say(f"the provider has its calls back: {recovered}")
    evidence = await reading.read(database_url, provider.bill_path, orgs, start)
    (folder / "seen.jsonl").write_text(
        "".join(json.dumps(each.to_line()) + "\n" for each in callers.seen)
    )
    return Result(
        seen=callers.seen,
        windows=windows,
        evidence=evidence,
        seconds=seconds,
        incident_count=len(callers.incidents),
        recovery_seconds=seconds - ended if recovered else None,
    )


@contextlib.asynccontextmanager
async def _stage(
    script: Script, endpoints: Endpoints, folder: Path
) -> AsyncIterator[tuple[StandInProcess, Callers, list[str]]]:
    async with contextlib.AsyncExitStack() as stack:
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(endpoints.gateway))
        keys = await backends.prepare(channel, endpoints.admin_key)
        keys = dict(list(keys.items())[:ORG_COUNT])
        await _put_routes(Operator(channel, admin_key=endpoints.admin_key))
        provider = await stack.enter_async_context(
            stand_in.running(folder / "bill.jsonl", speed=script.speed)
        )
        target = "ipv4:" + ",".join(endpoints.content["gateways"])
        callers = await stack.enter_async_context(Callers(target, keys, provider.url))
        async with asyncio.timeout(READY_SECONDS_MAX):
            await callers.wait_until_routed(len(endpoints.content["gateways"]))
        yield provider, callers, list(keys)


async def _put_routes(operator: Operator) -> None:
    prices = load_prices()
    for provider, model in PROVIDERS:
        await operator.put_price(render_price(provider, model, prices[provider, model]))
    for operation, candidates in ROUTES.items():
        await operator.put_route(
            admin_pb2.Route(
                operation=operation,
                candidates=[call_pb2.Candidate(provider=p, model=m) for p, m in candidates],
                default_max_output_token_count=64,
                fallback_text=FALLBACK_TEXT,
                hold_seconds=HOLD_SECONDS,
            )
        )


async def _play(phase: Phase, provider: StandInProcess, callers: Callers, say: Say) -> Window:
    before, began = len(callers.seen), callers.now
    # Ended below; the bound is for a run that is killed.
    await provider.set_outage(FAILING_PROVIDER, seconds=2 * phase.seconds if phase.out else 0)
    trouble: dict[str, Any] = dict(phase.trouble)
    await provider.set_trouble(FAILING_PROVIDER, **trouble)
    await asyncio.sleep(phase.seconds)
    await provider.set_outage(FAILING_PROVIDER, seconds=0)
    await provider.set_trouble(FAILING_PROVIDER)
    window = Window(phase=phase, start=began, end=callers.now)
    told = ", ".join(f"{n} {name}" for name, n in count(callers.seen[before:]).items())
    say(f"{began:6.1f} s {phase.name or 'well':18} {told}")
    return window


async def _recover(script: Script, callers: Callers, database_url: str) -> bool:
    """Returns whether the provider gets calls again, by itself and soon."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(script.recovery_seconds):
            while not (  # noqa: ASYNC110 - a database has no event for it
                await reading.all_closed(database_url) and _has_its_calls(callers.seen)
            ):
                await asyncio.sleep(POLL_SECONDS)
            return True
    return False


def _has_its_calls(seen: Sequence[Seen]) -> bool:
    recent = [each for each in seen[-RECENT_COUNT:] if each.outcome == "answered"]
    return {each.operation for each in recent if each.model == OPENAI[1]} == {ONE, TWO}
