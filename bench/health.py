"""How fast stops and breakers spread, beside a bare fan-out of the same size in the same run.

`python -m bench.health [--json] [--rounds N] [--rate N] [--watchers N]`. Starts a whole system
of its own, with two gateways, and needs nothing that runs. All times are in milliseconds.

- kill-ack: from asking for a stop to its acknowledgement, while calls arrive at a fixed rate. The
  first one since the start is told apart, as is how many calls a second were answered meanwhile.
- breaker-seen: from forcing a breaker to the last gateway that tells of it.
- watch-N: from a change to each of N watchers of one gateway; fan-out is the same with a bare
  server that sends as many bytes to as many streams.
- admit-breaker-off, -on: microseconds of the gateways' rule for one call, with all breakers closed
  and with one of them open. That a healthy breaker costs no RPC and no lock, a test shows
  (tests/integration/gateway/test_breaker_costs.py).

Each target is printed with what was measured: met, or not met.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import grpc

from bench import backend as backends
from bench.load import run_open
from bench.system import Endpoints, running_fan_out, running_system
from gateway.domain.calls import Candidate
from gateway.domain.fitness import Breaker, BreakerState, survey
from headgate.api.common.v1 import health_pb2
from headgate.api.gateway.v1 import (
    admin_pb2,
    admin_pb2_grpc,
    gateway_pb2,
    gateway_pb2_grpc,
)
from headgate.channel import authorization

PATIENCE_SECONDS: Final = 30.0
PROVIDER: Final = "bench-provider"
SURVEY_COUNT: Final = 100_000
# Callers that start at once meet cold caches: kills begin when their backlog is gone.
LOAD_WARM_UP_SECONDS: Final = 5.0
# A machine that cannot keep up with the load ends the kills before all rounds.
LOAD_SECONDS_MAX: Final = 60.0
Row = dict[str, float]
# Shape, figure, and what it must stay below.
TARGETS: Final = (
    ("kill-ack", "p99", 50.0),
    ("breaker-seen", "p99", 200.0),
    ("watch", "ratio", 2.0),
)


async def _measure(endpoints: Endpoints, options: argparse.Namespace) -> dict[str, Row]:
    async with contextlib.AsyncExitStack() as stack:
        channels = [
            await stack.enter_async_context(grpc.aio.insecure_channel(address))
            for address in endpoints.content["gateways"]
        ]
        keys = await backends.prepare(channels[0], endpoints.admin_key)
        staff = _Staff(channels[0], endpoints.admin_key)
        watchers = [_Watchers(channel, next(iter(keys.values()))) for channel in channels]
        rows = {
            "breaker-seen": await _breaker_seen(staff, watchers, options.rounds),
            "kill-ack": await _kill_ack(staff, channels, keys, options),
            f"watch-{options.watchers}": await _watch(staff, watchers[0], options),
        }
        with running_fan_out() as address:
            async with grpc.aio.insecure_channel(address) as channel:
                rows["fan-out"] = await _fan_out(channel, options)
    watch = rows[f"watch-{options.watchers}"]
    watch["ratio"] = watch["p99"] / rows["fan-out"]["p99"]
    return rows | _surveys()


def judge(rows: Mapping[str, Row]) -> list[dict[str, Any]]:
    """Returns each target with what was measured."""
    judged: list[dict[str, Any]] = []
    for shape, figure, most in TARGETS:
        name = next(each for each in rows if each.startswith(shape))
        measured = rows[name][figure]
        told = {"shape": name, "figure": figure, "target": most, "measured": measured}
        judged.append(told | {"met": measured < most})
    return judged


class _Staff:
    def __init__(self, channel: grpc.aio.Channel, key: str) -> None:
        self._stub = admin_pb2_grpc.AdminServiceStub(channel)
        self._metadata = authorization(key)
        self._is_open = False

    async def kill(self, **order: Any) -> float:
        """Stops calls and lifts the stop; returns how long the acknowledgement took."""
        prepared = await self._stub.PrepareKill(
            admin_pb2.PrepareKillRequest(reason="bench", **order), metadata=self._metadata
        )
        request = admin_pb2.KillRequest(
            reason="bench", confirmation_token=prepared.confirmation_token, **order
        )
        began = time.perf_counter()
        stopped = await self._stub.Kill(request, metadata=self._metadata)
        took = time.perf_counter() - began
        resume = admin_pb2.ResumeRequest(reason="bench", kill_id=stopped.kill.kill_id)
        await self._stub.Resume(resume, metadata=self._metadata)
        return took

    async def turn(self) -> None:
        """Forces the breaker of a provider that nobody uses open, or closed again."""
        self._is_open = not self._is_open
        override = (
            health_pb2.BREAKER_OVERRIDE_OPEN
            if self._is_open
            else health_pb2.BREAKER_OVERRIDE_CLOSED
        )
        await self._stub.SetBreaker(
            admin_pb2.SetBreakerRequest(provider=PROVIDER, override=override, reason="bench"),
            metadata=self._metadata,
        )


class _Watchers:
    """Streams of one gateway, each of which notes when it hears of the provider."""

    def __init__(self, channel: grpc.aio.Channel, key: str) -> None:
        self._stub = gateway_pb2_grpc.GatewayServiceStub(channel)
        self._metadata = authorization(key)

    @contextlib.asynccontextmanager
    async def open(self, count: int) -> AsyncIterator[Callable[[], Awaitable[list[float]]]]:
        """Yields what returns, once all have heard the next news, when each of them did."""
        streams = [
            self._stub.WatchStatus(gateway_pb2.WatchStatusRequest(), metadata=self._metadata)
            for _ in range(count)
        ]
        for stream in streams:
            await stream.read()

        async def hear(stream: Any) -> float:
            while True:
                status = (await stream.read()).status
                if any(each.provider == PROVIDER for each in status.providers):
                    return time.perf_counter()

        async def hear_all() -> list[float]:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return list(await asyncio.gather(*map(hear, streams)))

        try:
            yield hear_all
        finally:
            for stream in streams:
                stream.cancel()


async def _breaker_seen(staff: _Staff, watchers: Sequence[_Watchers], rounds: int) -> Row:
    took = []
    async with contextlib.AsyncExitStack() as stack:
        ears = [await stack.enter_async_context(each.open(1)) for each in watchers]
        for _ in range(rounds):
            hearing = [asyncio.ensure_future(ear()) for ear in ears]
            await asyncio.sleep(0)
            began = time.perf_counter()
            await staff.turn()
            heard = itertools.chain.from_iterable(await asyncio.gather(*hearing))
            took.append(max(heard) - began)
    return _row(took)


async def _kill_ack(
    staff: _Staff,
    channels: Sequence[grpc.aio.Channel],
    keys: dict[str, str],
    options: argparse.Namespace,
) -> Row:
    admits = itertools.cycle([backends.Backend(channel, keys).admit for channel in channels])
    answer_count = 0

    async def admit() -> int:
        nonlocal answer_count
        with contextlib.suppress(backends.UnexpectedAnswerError):
            # Denied while stopped, which is meant.
            await next(admits)()
        answer_count += 1
        return 1

    async def kill() -> float:
        seconds = await staff.kill()
        await asyncio.sleep(0.1)
        return seconds

    load = asyncio.ensure_future(run_open(admit, dict, rate=options.rate, seconds=math.inf))
    await asyncio.sleep(LOAD_WARM_UP_SECONDS)
    first = await kill()
    began, answer_count = time.perf_counter(), 0
    took: list[float] = []
    while len(took) < options.rounds and time.perf_counter() - began < LOAD_SECONDS_MAX:
        took.append(await kill())
    rate = answer_count / (time.perf_counter() - began)
    load.cancel()
    await asyncio.wait([load])
    return _row(took) | {"first": first * 1_000, "kills": len(took), "calls_per_second": rate}


async def _watch(staff: _Staff, watchers: _Watchers, options: argparse.Namespace) -> Row:
    took: list[float] = []
    async with watchers.open(options.watchers) as hear:
        for _ in range(max(options.rounds // 5, 2)):
            hearing = asyncio.ensure_future(hear())
            await asyncio.sleep(0)
            began = time.perf_counter()
            await staff.turn()
            took += [at - began for at in await hearing]
    return _row(took)


async def _fan_out(channel: grpc.aio.Channel, options: argparse.Namespace) -> Row:
    watch: Any = channel.unary_stream("/bench.FanOut/Watch")
    fire: Any = channel.unary_unary("/bench.FanOut/Fire")
    streams = [watch(b"") for _ in range(options.watchers)]
    for stream in streams:
        await stream.read()
    took: list[float] = []

    async def hear(stream: Any) -> float:
        await stream.read()
        return time.perf_counter()

    for _ in range(max(options.rounds // 5, 2)):
        hearing = asyncio.gather(*map(hear, streams))
        await asyncio.sleep(0)
        began = time.perf_counter()
        await fire(b"x" * 64)
        took += [at - began for at in await hearing]
    # Ends them.
    await fire(b"")
    for stream in streams:
        await stream.read()
    return _row(took)


def _surveys() -> dict[str, Row]:
    route = tuple(Candidate(provider=name, model="m") for name in ("one", "two"))
    broken = {("one", "", ""): Breaker(state=BreakerState.OPEN, probe_time=float("inf"))}
    rows = {}
    for name, unfit in (("admit-breaker-off", {}), ("admit-breaker-on", broken)):
        began = time.process_time()
        for _ in range(SURVEY_COUNT):
            survey(route, unfit, credential="acme", call_id="7", now=0.0)
        micros = (time.process_time() - began) / SURVEY_COUNT * 1e6
        rows[name] = {"cpu_us": micros}
    return rows


def _row(seconds: Sequence[float]) -> Row:
    # By the nearest rank: of a hundred, the 99th.
    ordered = sorted(seconds)
    return {
        name: ordered[math.ceil(share * len(ordered)) - 1] * 1_000
        for name, share in (("p50", 0.50), ("p90", 0.90), ("p99", 0.99), ("max", 1.0))
    }


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="bench.health", description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--rate", type=float, default=1_000.0)
    parser.add_argument("--watchers", type=int, default=1_000)
    options = parser.parse_args()
    with running_system("--gateways", "2") as endpoints:
        rows = asyncio.run(_measure(endpoints, options))
    targets = judge(rows)
    if options.json:
        print(json.dumps({"shapes": rows, "targets": targets}, indent=2))
        return
    for name, row in rows.items():
        print(f"{name:18}", *(f"{key} {value:10.2f}" for key, value in row.items()))
    for each in targets:
        met = "met" if each["met"] else "NOT MET"
        print(
            f"{each['shape']} {each['figure']}: {each['measured']:.2f}, below {each['target']:g}:"
            f" {met}"
        )


if __name__ == "__main__":
    main()
