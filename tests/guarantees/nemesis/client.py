"""A backend's process: many callers that do everything that backends do, well or badly.

    python -m tests.guarantees.nemesis.client

Reads its plan as one line of JSON from stdin, calls until stdin ends, and then lets the
operations under way end. The nemesis kills it without a warning.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import random
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from headgate.api.gateway.v1 import gateway_pb2_grpc
from headgate.channel import open_channel
from headgate.ids import IdMaker
from tests.guarantees.callers import HOLD_SECONDS
from tests.guarantees.nemesis.asking import Asker
from tests.guarantees.nemesis.history import Action, Kind, Log

RPC_SECONDS: Final = 3.0
# An operation whose outcome is unknown is asked again so often; the checker asks the rest.
ATTEMPT_COUNT_MAX: Final = 4
INPUT_TOKENS: Final = (50, 600)
OUTPUT_TOKENS_MAX: Final = (50, 400)
# What calls use above their bound, when their provider does not keep it.
EXCESS_TOKENS: Final = 500
PAUSE_SECONDS: Final = 0.02
RETRY_PAUSE_SECONDS: Final = 0.1
# After a hold has ended for sure, sweep included.
LATE_SECONDS: Final = HOLD_SECONDS + 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a client process is told."""

    name: str
    seed: int
    gateways: list[str]
    api_key: str
    orgs: list[str]
    log: str
    caller_count: int
    # How wrong the client's own clock is; it goes into the ids that it makes.
    clock_offset_seconds: float

    def to_line(self) -> bytes:
        """The plan as the process reads it."""
        return (json.dumps(asdict(self)) + "\n").encode()


class Caller:
    """One task that makes one call after the other."""

    def __init__(self, asker: Asker, plan: Plan, number: int) -> None:
        self._asker = asker
        self._plan = plan
        self._chance = random.Random(f"{plan.seed}/{plan.name}/{number}")
        offset_ms = int(plan.clock_offset_seconds * 1000)
        self._ids = IdMaker(read_clock_ms=lambda: time.time_ns() // 1_000_000 + offset_ms)

    async def run(self, stop: asyncio.Event) -> None:
        """Calls until it shall stop."""
        habits: list[tuple[Callable[[asyncio.Event], Awaitable[None]], int]] = [
            (self._report, 60),
            (self._release, 8),
            (self._forget, 6),
            (self._report_late, 5),
            (self._ask_twice, 8),
            (self._report_twice, 6),
            (self._release_unknown, 3),
            (self._reuse_id, 4),
            (self._take_long, 6),
        ]
        while not stop.is_set():
            (habit,) = self._chance.choices(*zip(*habits, strict=True))
            await habit(stop)
            await asyncio.sleep(self._chance.random() * PAUSE_SECONDS)

    async def _report(self, _stop: asyncio.Event) -> None:
        call = self._draw_call()
        if (permit := await self._admit(call)) is not None:
            await self._complete(call, self._draw_report(call, permit))

    async def _release(self, _stop: asyncio.Event) -> None:
        call = self._draw_call()
        if await self._admit(call) is not None:
            await self._insist(Action.RELEASE, call, {})

    async def _forget(self, _stop: asyncio.Event) -> None:
        await self._admit(self._draw_call())

    async def _report_late(self, stop: asyncio.Event) -> None:
        call = self._draw_call()
        if (permit := await self._admit(call)) is not None:
            await self._pause(stop, LATE_SECONDS)
            await self._complete(call, self._draw_report(call, permit))

    async def _take_long(self, stop: asyncio.Event) -> None:
        """A stream that runs longer than its hold, and says so in time."""
        call = self._draw_call()
        if (permit := await self._admit(call)) is not None:
            await self._pause(stop, HOLD_SECONDS / 2)
            await self._insist(Action.EXTEND, call, {"seconds": HOLD_SECONDS})
            await self._pause(stop, HOLD_SECONDS * 0.75)
            await self._complete(call, self._draw_report(call, permit))

    async def _ask_twice(self, _stop: asyncio.Event) -> None:
        call = self._draw_call()
        permits = await asyncio.gather(self._admit(call), self._admit(call))
        permit = permits[0] if permits[0] is not None else permits[1]
        if permit is not None:
            await self._complete(call, self._draw_report(call, permit))

    async def _report_twice(self, _stop: asyncio.Event) -> None:
        call = self._draw_call()
        if (permit := await self._admit(call)) is not None:
            report = self._draw_report(call, permit)
            await asyncio.gather(self._complete(call, report), self._complete(call, report))

    async def _release_unknown(self, _stop: asyncio.Event) -> None:
        call = self._draw_call()
        await asyncio.gather(self._insist(Action.RELEASE, call, {}), self._admit(call))

    async def _reuse_id(self, _stop: asyncio.Event) -> None:
        call = self._draw_call()
        if await self._admit(call) is not None:
            other = {**call, "input": call["input"] + 1}
            await self._insist(Action.ADMIT, other, _bounds(other))
            await self._insist(Action.RELEASE, call, {})

    async def _pause(self, stop: asyncio.Event, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await stop.wait()

    def _draw_call(self) -> dict[str, Any]:
        return {
            "org": self._chance.choice(self._plan.orgs),
            "call_id": self._ids.make(),
            "input": self._chance.randint(*INPUT_TOKENS),
            "output_max": self._chance.randint(*OUTPUT_TOKENS_MAX),
        }

    def _draw_report(self, call: dict[str, Any], permit: str) -> dict[str, Any]:
        excess = EXCESS_TOKENS if self._chance.random() < 0.1 else 0
        output = self._chance.randint(0, call["output_max"]) + excess
        # Some lose the permit: then admission is asked.
        lost = self._chance.random() < 0.1
        return {"permit": "" if lost else permit, "input": call["input"], "output": output}

    async def _admit(self, call: dict[str, Any]) -> str | None:
        kind, facts = await self._insist(Action.ADMIT, call, _bounds(call))
        admission = facts.get("decision", {}).get("admission") if kind is Kind.OK else None
        return None if admission is None else base64.b64decode(admission["permit"]).hex()

    async def _complete(self, call: dict[str, Any], report: dict[str, Any]) -> None:
        await self._insist(Action.COMPLETE, call, report)

    async def _insist(
        self, action: Action, call: dict[str, Any], request: dict[str, Any]
    ) -> tuple[Kind, dict[str, Any]]:
        gateway = self._chance.randrange(len(self._plan.gateways))
        for attempt in range(ATTEMPT_COUNT_MAX):
            kind, facts = await self._asker.ask(
                action,
                call["org"],
                call["call_id"],
                request,
                gateway=gateway + attempt,
                seconds=RPC_SECONDS,
            )
            if kind is not Kind.INFO:
                break
            await asyncio.sleep(RETRY_PAUSE_SECONDS * (1 + self._chance.random()))
        return kind, facts


def _bounds(call: dict[str, Any]) -> dict[str, Any]:
    return {"input": call["input"], "output_max": call["output_max"]}


async def run(plan: Plan, stop: asyncio.Event) -> None:
    """Runs the callers until `stop`."""
    async with contextlib.AsyncExitStack() as stack:
        log = stack.enter_context(Log(Path(plan.log), process=plan.name))
        channels = [
            await stack.enter_async_context(open_channel(address)) for address in plan.gateways
        ]
        stubs = [gateway_pb2_grpc.GatewayServiceStub(channel) for channel in channels]
        asker = Asker(stubs, api_key=plan.api_key, log=log)
        async with asyncio.TaskGroup() as group:
            for number in range(plan.caller_count):
                group.create_task(Caller(asker, plan, number).run(stop))


async def main() -> None:
    """Runs as the process."""
    plan = Plan(**json.loads(sys.stdin.readline()))
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def end() -> None:
        loop.remove_reader(sys.stdin)
        stop.set()

    loop.add_reader(sys.stdin, end)
    await run(plan, stop)


if __name__ == "__main__":
    asyncio.run(main())
