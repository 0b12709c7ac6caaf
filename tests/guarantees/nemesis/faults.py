"""What the nemesis does to the system, and when: drawn from a seed, to be done again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import asyncpg

from tests.guarantees.nemesis.fleet import Fleet
from tests.guarantees.nemesis.keeper import POSTGRES
from tests.guarantees.nemesis.proxy import BOTH_WAYS, Trouble, Way

ADMISSIONS: Final = ("admission-0", "admission-1")
GATEWAYS: Final = ("gateway-0", "gateway-1")
SERVERS: Final = (*GATEWAYS, *ADMISSIONS, "accounting-0")
# The longest that a fault lasts, and the shortest.
FAULT_SECONDS: Final = (1.0, 4.0)
# Before the first fault.
CALM_SECONDS: Final = 3.0
# Days and hours: ids, periods and expiries must not care.
SKEWS_SECONDS: Final = (-172_800.0, -3_600.0, -30.0, 30.0, 3_600.0, 172_800.0)
# Restarts, reconnects and the next sweep: until then a heal has not healed everything.
RECOVERY_SECONDS: Final = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One fault: what, to whom, when from the start of the run, and for how long."""

    kind: str
    victim: str
    at: float
    seconds: float
    # How wrong a clock goes, for example.
    amount: float = 0.0

    def __str__(self) -> str:
        return f"{self.at:6.1f} s {self.kind} {self.victim} ({self.seconds:.1f} s)"


# Kind of fault -> whom it may meet.
KINDS: Final[dict[str, Sequence[str]]] = {
    "kill": SERVERS,
    "kill-client": ("client",),
    "kill-backend": (POSTGRES,),
    "stop-database": (POSTGRES,),
    "pause": (*GATEWAYS, *ADMISSIONS, "accounting-0"),
    "skew": SERVERS,
    "cut": ("clients>", "gateway-0>admission", "gateway-1>admission", f">{POSTGRES}"),
    "cut-there": ("gateway-0>admission", f"admission-0>{POSTGRES}", f"admission-1>{POSTGRES}"),
    "cut-back": ("gateway-1>admission", f"admission-0>{POSTGRES}", f"admission-1>{POSTGRES}"),
    "slow": ("clients>", ">admission", f">{POSTGRES}", ">accounting"),
    "tear": ("clients>", ">admission", f">{POSTGRES}", ">accounting"),
    "linger": (*GATEWAYS, *ADMISSIONS, POSTGRES),
}


def schedule(
    seed: int, *, seconds: float, pace: float, kinds: Mapping[str, Sequence[str]] = KINDS
) -> list[Step]:
    """Faults for a run of that length, every kind before any kind comes again."""
    chance = random.Random(seed)
    steps: list[Step] = []
    waiting: list[str] = []
    at = CALM_SECONDS
    while at < seconds:
        if not waiting:
            waiting = sorted(kinds)
            chance.shuffle(waiting)
        kind = waiting.pop()
        steps.append(
            Step(
                kind=kind,
                victim=chance.choice(kinds[kind]),
                at=at,
                seconds=chance.uniform(*FAULT_SECONDS),
                amount=chance.choice(SKEWS_SECONDS),
            )
        )
        at += pace * chance.uniform(0.6, 1.4)
    return steps


class Nemesis:
    """Does the steps to the fleet."""

    def __init__(self, fleet: Fleet, *, replace_client: Callable[[], Awaitable[None]]) -> None:
        self._fleet = fleet
        self._replace_client = replace_client

    async def do(self, step: Step) -> None:
        """Makes one fault and, when its time is over, mends what does not mend itself."""
        match step.kind:
            case "kill":
                self._signal(step.victim, signal.SIGKILL)
            case "kill-client":
                await self._replace_client()
            case "kill-backend":
                await self._kill_backend()
            case "stop-database":
                # An immediate stop: Postgres recovers from its log at the next start.
                self._signal(POSTGRES, signal.SIGQUIT)
            case "pause":
                await self._pause(step)
            case "skew":
                self._fleet.skew(step.victim, step.amount)
            case _:
                await self._impair(step)

    def heal(self) -> None:
        """Ends every fault that lasts."""
        for proxy in self._fleet.links.values():
            proxy.heal()
        for name in self._fleet.pids():
            self._signal(name, signal.SIGCONT)

    async def _impair(self, step: Step) -> None:
        troubles = {
            "cut": Trouble(blocked=BOTH_WAYS),
            "cut-there": Trouble(blocked=frozenset({Way.THERE})),
            "cut-back": Trouble(blocked=frozenset({Way.BACK})),
            "slow": Trouble(delay_seconds=0.02, jitter_seconds=0.2),
            "tear": Trouble(byte_count_max=700),
            "linger": Trouble(close_delay_seconds=step.seconds),
        }
        part = f">{step.victim}" if step.kind == "linger" else step.victim
        links = [proxy for name, proxy in self._fleet.links.items() if part in name]
        assert links, step
        for proxy in links:
            proxy.impair(troubles[step.kind])
        if step.kind == "linger":
            # Dead, and those who are connected to it do not hear of it for a while.
            self._signal(step.victim, signal.SIGQUIT if part[1:] == POSTGRES else signal.SIGKILL)
        try:
            await asyncio.sleep(step.seconds)
        finally:
            for proxy in links:
                proxy.heal()

    async def _pause(self, step: Step) -> None:
        self._signal(step.victim, signal.SIGSTOP)
        try:
            await asyncio.sleep(step.seconds)
        finally:
            self._signal(step.victim, signal.SIGCONT)

    async def _kill_backend(self) -> None:
        """Kills the back end that works for a writer; Postgres then drops every session."""
        with contextlib.suppress(OSError, asyncpg.PostgresError, TimeoutError):
            connection = await asyncpg.connect(self._fleet.endpoints["database_url"], timeout=5)
            try:
                pid = await connection.fetchval(
                    "SELECT pid FROM pg_stat_activity WHERE usename = 'headgate_admission'"
                    " ORDER BY application_name LIKE '%writer' DESC, query_start DESC LIMIT 1"
                )
                if pid is not None:
                    os.kill(pid, signal.SIGKILL)
            finally:
                connection.terminate()

    def _signal(self, name: str, number: signal.Signals) -> None:
        # It may have ended a moment ago, by another fault.
        with contextlib.suppress(ProcessLookupError):
            if (pid := self._fleet.pids().get(name)) is not None:
                os.kill(pid, number)


@contextlib.asynccontextmanager
async def raging(
    nemesis: Nemesis, steps: Sequence[Step], say: Callable[[str], None]
) -> AsyncIterator[asyncio.Event]:
    """Runs the schedule beside the block; heals all at its end. The event: all steps are done."""
    done = asyncio.Event()

    async def rage() -> None:
        start = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as group:
            for step in steps:
                await asyncio.sleep(start + step.at - asyncio.get_running_loop().time())
                say(str(step))
                group.create_task(nemesis.do(step))
        done.set()

    task = asyncio.create_task(rage())
    try:
        yield done
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        nemesis.heal()
