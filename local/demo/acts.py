"""What the demo provokes on purpose: each act does one thing and says whether Headgate kept up."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Final

import headgate
from headgate.api.common.v1 import health_pb2
from local.demo import orphans, stage
from local.demo.journal import Entry
from local.demo.operator import Operator
from local.demo.orphans import Orders
from local.demo.stage import CAPPED_ORG, FAILING_PROVIDER, ORGS
from local.demo.stand_in import StandInProcess
from local.demo.tally import Tally
from local.demo.traffic import Backends

# Longer than a killed service takes to come back.
PATIENCE_SECONDS: Final = 60.0
# Beyond the time at which the breaker lets probes pass.
RECOVERY_SECONDS_MAX: Final = 60.0
POLL_SECONDS: Final = 0.25
BURST_SIZE: Final = 12
ORPHAN_COUNT: Final = 4
# Room for clocks of two machines and for the way of the answer.
DELAY_TOLERANCE: Final = timedelta(minutes=1)
FAILING_OPERATION: Final = "demo-summarize"

_BREAKER_NAMES: Final = {
    health_pb2.BREAKER_STATE_CLOSED: "closed",
    health_pb2.BREAKER_STATE_OPEN: "open",
    health_pb2.BREAKER_STATE_HALF_OPEN: "half-open",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One act as it went."""

    name: str
    passed: bool
    # Sentence for people.
    story: str


@dataclass(slots=True, kw_only=True)
class Acts:
    """Plays the acts on a system that serves traffic meanwhile."""

    operator: Operator
    backends: Backends
    provider: StandInProcess
    tally: Tally
    # How long the audience may look at an outage, at a cap that denies, and at a kill.
    look_seconds: float
    # From the acknowledged kill to the order to resume, by this machine's monotonic clock.
    kill_windows: list[tuple[float, float]] = field(default_factory=list)

    async def trip_breaker(self) -> Act:
        """Takes a provider down until its breaker opens, then waits until it has closed again."""
        if not await self._reach(FAILING_PROVIDER, health_pb2.BREAKER_STATE_CLOSED):
            return self._told("breaker", passed=False, story=f"{FAILING_PROVIDER} did not recover")
        failed_over = self._count_failed_over()
        async with self._outage():
            opened = await self._reach(FAILING_PROVIDER, health_pb2.BREAKER_STATE_OPEN)
            served_by = await self._find_other_provider()
            await asyncio.sleep(self.look_seconds)
        closed = await self._reach(FAILING_PROVIDER, health_pb2.BREAKER_STATE_CLOSED)
        story = (
            f"{FAILING_PROVIDER} went down, {'its breaker opened' if opened else 'unnoticed'},"
            f" {self._count_failed_over() - failed_over} calls failed over,"
            f" {served_by or 'nobody'} served instead, and the breaker"
            f" {'closed again' if closed else 'did not close again'}"
        )
        return self._told("breaker", passed=opened and closed and bool(served_by), story=story)

    async def trip_limit(self) -> Act:
        """Caps an org a little above what it has used, until it is denied; then lifts the cap."""
        try:
            books = await self.operator.read_books(start=_first_of_month())
            await stage.set_cap(self.operator, books, room_nanos=stage.CAP_ROOM_NANOS)
            self.tally.note(f"{CAPPED_ORG} is capped just above what it has used")
            denial = await self._find_denial()
            await asyncio.sleep(self.look_seconds)
        finally:
            await self.operator.delete_limit(stage.CAP_ID)
        if denial is None:
            return self._told("limit", passed=False, story=f"{CAPPED_ORG} was never denied")
        again = await self._is_served(CAPPED_ORG)
        story = (
            f"{CAPPED_ORG} was denied: {describe(denial)};"
            f" {'served again' if again else 'not served'} once it was lifted"
        )
        return self._told("limit", passed=again and is_truthful(denial), story=story)

    async def pull_kill_switch(self) -> Act:
        """Kills, asks for calls that must all be denied, and resumes."""
        try:
            await self.operator.kill(stage.KILL_REASON)
            acknowledged = time.monotonic()
            self.tally.note("the kill switch is in force")
            answers = [
                answer for org in ORGS for answer in await self._burst(org, "demo-classify")
            ]
            await asyncio.sleep(self.look_seconds)
        finally:
            resuming = time.monotonic()
            await self.operator.resume(stage.KILL_REASON)
        self.kill_windows.append((acknowledged, resuming))
        denials = [each for each in answers if isinstance(each, headgate.Denial)]
        fenced = sum(each.reason is headgate.DenialReason.FENCED for each in denials)
        served = sum(isinstance(each, str) for each in answers)
        again = await self._is_served(ORGS[0])
        story = (
            f"{fenced} calls asked after the kill was acknowledged and were stopped, {served} were"
            f" admitted; {'served again' if again else 'not served'} after the resume"
        )
        return self._told("kill switch", passed=again and fenced > 0 and not served, story=story)

    async def strand_callers(self, orders: Orders) -> Act:
        """Lets a backend die with calls under way."""
        status = await orphans.strand(orders)
        story = f"a backend of {orders.org} died with {orders.call_count} calls under way"
        return self._told("orphans", passed=status < 0, story=story)

    @asynccontextmanager
    async def _outage(self) -> AsyncIterator[None]:
        await self.provider.set_outage(FAILING_PROVIDER, seconds=4 * PATIENCE_SECONDS)
        self.tally.note(f"{FAILING_PROVIDER} goes down")
        try:
            yield
        finally:
            await self.provider.set_outage(FAILING_PROVIDER, seconds=0)
            self.tally.note(f"{FAILING_PROVIDER} is back; its breaker does not know yet")

    async def _reach(self, provider: str, state: health_pb2.BreakerState.ValueType) -> bool:
        """Makes calls until the provider's breaker is in that state, for a bounded time."""
        give_up = time.monotonic() + PATIENCE_SECONDS
        while True:
            health = await self._observe(provider)
            if health.state == state:
                return True
            probe_seconds = health.probe_time.ToDatetime(UTC).timestamp() - time.time()
            if time.monotonic() > give_up + max(probe_seconds, 0.0):
                return False
            await self.backends.try_call(ORGS[0], FAILING_OPERATION)
            await asyncio.sleep(POLL_SECONDS)

    async def _observe(self, provider: str) -> health_pb2.ProviderHealth:
        status = await self.operator.get_status()
        found = (each for each in status.providers if each.provider == provider)
        # One that was never observed is not listed.
        unknown = health_pb2.ProviderHealth(state=health_pb2.BREAKER_STATE_CLOSED)
        return next(found, unknown)

    async def _find_other_provider(self) -> str:
        give_up = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < give_up:
            answer = await self.backends.try_call(ORGS[0], FAILING_OPERATION)
            if isinstance(answer, str) and answer != FAILING_PROVIDER:
                return answer
            await asyncio.sleep(POLL_SECONDS)
        return ""

    async def _find_denial(self) -> headgate.Denial | None:
        """Returns a denial by the cap, else the last one that was seen."""
        denial = None
        give_up = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < give_up:
            for answer in await self._burst(CAPPED_ORG, "demo-chat"):
                if isinstance(answer, headgate.Denial):
                    denial = answer
                    if denial.reason is headgate.DenialReason.BUDGET_EXCEEDED:
                        return denial
            await asyncio.sleep(POLL_SECONDS)
        return denial

    async def _is_served(self, org: str) -> bool:
        give_up = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < give_up:
            if isinstance(await self.backends.try_call(org, "demo-classify"), str):
                return True
            await asyncio.sleep(POLL_SECONDS)
        return False

    async def _burst(self, org: str, operation: str) -> list[headgate.Denial | str | None]:
        calls = (self.backends.try_call(org, operation) for _ in range(BURST_SIZE))
        return await asyncio.gather(*calls)

    def _count_failed_over(self) -> int:
        return sum(org.failed_over for org in self.tally.orgs.values())

    def _told(self, name: str, *, passed: bool, story: str) -> Act:
        self.tally.note(story)
        return Act(name=name, passed=passed, story=story)


def describe(denial: headgate.Denial) -> str:
    """Names the first violated limit, whom to ask and when to try again."""
    reason = denial.reason.value.replace("_", " ").lower()
    delay = denial.retry_delay
    retry = "waiting does not help"
    if delay is not None:
        retry = f"retry in {timedelta(seconds=math.ceil(delay.total_seconds()))}"
    if not denial.violations:
        return f"{reason}, {retry}"
    violation = denial.violations[0]
    return f"{reason} by {violation.limit_id}, ask {violation.owner or 'nobody'}, {retry}"


def is_truthful(denial: headgate.Denial) -> bool:
    """Tells whether a denial by the demo's cap names it, its owner and its window's end."""
    violation = next((each for each in denial.violations if each.limit_id == stage.CAP_ID), None)
    if violation is None or violation.reset_time is None or denial.retry_delay is None:
        return False
    early = violation.reset_time - (datetime.now(UTC) + denial.retry_delay)
    return violation.owner == stage.CAP_OWNER and abs(early) < DELAY_TOLERANCE


def check_kills(entries: list[Entry], kill_windows: list[tuple[float, float]]) -> list[str]:
    """Names every call that asked within an acknowledged kill and was admitted all the same."""
    return [
        f"call {entry.call_id} was admitted after the kill was acknowledged"
        for entry in entries
        if entry.admitted and any(start <= entry.sent_seconds < end for start, end in kill_windows)
    ]


def name_breaker(state: health_pb2.BreakerState.ValueType) -> str:
    """Returns the state's name for people."""
    return _BREAKER_NAMES.get(state, "unknown")


def _first_of_month() -> date:
    return datetime.now(UTC).date().replace(day=1)
