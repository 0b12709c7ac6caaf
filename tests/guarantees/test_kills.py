"""Kill under load, with gateways cut off from health and admissions paused: nothing slips through.

Real processes. When `Kill` has returned, no call has a time of admission, by the database's clock,
after the moment at which health wrote the acknowledgement down.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import os
import random
import secrets
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

import asyncpg
import grpc
import pytest

from headgate.api.common.v1 import denial_pb2, health_pb2
from headgate.api.gateway.v1 import admin_pb2, admin_pb2_grpc, gateway_pb2_grpc
from headgate.api.gateway.v1 import gateway_pb2 as pb
from headgate.channel import authorization, open_channel
from headgate.ids import IdMaker
from tests.e2e.system import state_folder
from tests.guarantees.callers import OPERATION, prepare
from tests.guarantees.nemesis import fleet as fleets
from tests.guarantees.nemesis.fleet import Fleet
from tests.guarantees.nemesis.proxy import BOTH_WAYS, Trouble

CALLER_COUNT: Final = 12
SHORT_RUNS: Final = 3
LONG_RUNS: Final = 100
RPC_SECONDS: Final = 3.0
# A kill that meets a paused admission fails aloud, and is ordered again.
KILL_SECONDS_MAX: Final = 60.0
LINKED: Final = {"gateway": ("health",)}
ADMITTED_AFTER: Final = """
    SELECT count(*) FROM (
        SELECT admit_time FROM admission.reservation
        UNION ALL SELECT admit_time FROM admission.ended_reservation
    ) AS calls
    WHERE admit_time > $1
"""
# The paused replica's transaction holds the locks of a batch that was not answered.
HOLDS_LOCKS: Final = """
    SELECT count(*) FROM pg_locks AS l INNER JOIN pg_stat_activity AS a ON l.pid = a.pid
    WHERE l.locktype = 'advisory' AND a.usename = 'headgate_admission'
"""
UNKNOWN: Final = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
)


@dataclass(slots=True)
class Heard:
    """What the callers of one gateway were answered."""

    admitted: int = 0
    denied: list[denial_pb2.DenialReason.ValueType] = field(default_factory=list)


class Load:
    """Callers on every gateway, without a pause."""

    def __init__(self, fleet: Fleet) -> None:
        self._addresses = fleet.endpoints["gateways"]
        self._metadata = authorization(fleet.endpoints["api_keys"]["demo-acme"])
        self._ids = IdMaker()
        self.heard = [Heard() for _ in self._addresses]

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Calls during the block."""
        async with contextlib.AsyncExitStack() as stack:
            stubs = [
                gateway_pb2_grpc.GatewayServiceStub(
                    await stack.enter_async_context(open_channel(address))
                )
                for address in self._addresses
            ]
            tasks = [
                asyncio.create_task(self._call(stubs[number % len(stubs)], number % len(stubs)))
                for number in range(CALLER_COUNT)
            ]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
            for task in tasks:
                if not task.cancelled():
                    task.result()

    async def _call(self, stub: gateway_pb2_grpc.GatewayServiceAsyncStub, gateway: int) -> None:
        while True:
            request = pb.AdmitCallRequest(
                call_id=self._ids.make(), org="demo-acme", operation=OPERATION, input_token_count=9
            )
            try:
                answer = await stub.AdmitCall(
                    request, metadata=self._metadata, timeout=RPC_SECONDS
                )
            except grpc.aio.AioRpcError as error:
                if error.code() not in UNKNOWN:
                    raise
                continue
            if answer.decision.HasField("admission"):
                self.heard[gateway].admitted += 1
            else:
                self.heard[gateway].denied.append(answer.decision.denial.reason)

    async def wait_for(self, what: str) -> None:
        """Returns when every gateway has answered so once more."""
        before = self._counts(what)
        async with asyncio.timeout(KILL_SECONDS_MAX):
            while any(  # noqa: ASYNC110 - polls of counts are enough here
                now <= then for now, then in zip(self._counts(what), before, strict=True)
            ):
                await asyncio.sleep(0.01)

    def _counts(self, what: str) -> list[int]:
        if what == "admitted":
            return [each.admitted for each in self.heard]
        return [len(each.denied) for each in self.heard]


class Staff:
    """Stops calls and lets them pass again."""

    def __init__(self, channel: grpc.aio.Channel, key: str) -> None:
        self._stub = admin_pb2_grpc.AdminServiceStub(channel)
        self._metadata = authorization(key)

    async def kill(self) -> health_pb2.KillSwitch:
        """Orders a stop until it is acknowledged."""
        async with asyncio.timeout(KILL_SECONDS_MAX):
            while True:
                prepared = await self._stub.PrepareKill(
                    admin_pb2.PrepareKillRequest(reason="test"), metadata=self._metadata
                )
                request = admin_pb2.KillRequest(
                    reason="test", confirmation_token=prepared.confirmation_token
                )
                with contextlib.suppress(grpc.aio.AioRpcError):
                    return (await self._stub.Kill(request, metadata=self._metadata)).kill

    async def resume(self) -> None:
        """Lifts it."""
        async with asyncio.timeout(KILL_SECONDS_MAX):
            while True:
                try:
                    await self._stub.Resume(
                        admin_pb2.ResumeRequest(reason="over"), metadata=self._metadata
                    )
                except grpc.aio.AioRpcError as error:
                    if error.code() is grpc.StatusCode.NOT_FOUND:
                        return
                else:
                    return


@contextlib.asynccontextmanager
async def a_gateway_cut_off(fleet: Fleet, chance: random.Random) -> AsyncIterator[None]:
    """From a moment around the kill on, the second gateway hears nothing of health."""
    proxy = fleet.links["gateway-1>health-0"]

    async def cut() -> None:
        await asyncio.sleep(chance.uniform(0, 0.1))
        proxy.impair(Trouble(blocked=BOTH_WAYS))

    cutting = asyncio.create_task(cut())
    try:
        yield
    finally:
        await cutting
        proxy.heal()


@contextlib.asynccontextmanager
async def an_admission_paused(fleet: Fleet, _: random.Random) -> AsyncIterator[None]:
    """One of the admissions stands still with the locks of a batch in its hands."""
    pid = fleet.pids()["admission-0"]
    connection = await asyncpg.connect(fleet.endpoints["database_url"])
    try:
        async with asyncio.timeout(KILL_SECONDS_MAX):
            while True:
                os.kill(pid, signal.SIGSTOP)
                # What it had sent is done; a batch between two statements keeps its locks.
                await asyncio.sleep(0.02)
                if await connection.fetchval(HOLDS_LOCKS):
                    break
                os.kill(pid, signal.SIGCONT)
                await asyncio.sleep(0.003)
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
        await connection.close()


FAULTS: Final = (a_gateway_cut_off, an_admission_paused)


async def kill_once(fleet: Fleet, staff: Staff, load: Load, run: int, seed: int) -> None:
    chance = random.Random(f"{seed}/{run}")
    await load.wait_for("admitted")
    await asyncio.sleep(chance.uniform(0, 0.1))
    async with FAULTS[run % len(FAULTS)](fleet, chance):
        killed = await staff.kill()
        assert killed.state == health_pb2.KILL_STATE_IN_FORCE
        await load.wait_for("denied")
    # Whoever was cut off or paused is back, with what it had in mind.
    for each in load.heard:
        each.denied.clear()
    await load.wait_for("denied")
    connection = await asyncpg.connect(fleet.endpoints["database_url"])
    try:
        acknowledged = killed.change_time.ToDatetime(tzinfo=dt.UTC)
        late = await connection.fetchval(ADMITTED_AFTER, acknowledged)
    finally:
        await connection.close()
    assert late == 0, f"{late} calls were admitted after {acknowledged} in run {run}"
    reasons = {reason for each in load.heard for reason in each.denied}
    assert reasons == {denial_pb2.DENIAL_REASON_FENCED}
    await staff.resume()


async def kill_again_and_again(runs: int) -> None:
    seed = int(os.environ.get("NEMESIS_SEED", secrets.randbelow(10**9)))
    print(f"NEMESIS_SEED={seed}")
    with state_folder() as state:
        async with (
            fleets.running(state, fleets.Shape(), seed=seed, linked=LINKED) as fleet,
            open_channel(fleet.endpoints["gateways"][0]) as channel,
        ):
            await prepare(fleet)
            staff, load = Staff(channel, fleet.endpoints["admin_key"]), Load(fleet)
            async with load.running():
                for run in range(runs):
                    await kill_once(fleet, staff, load, run, seed)


async def test_nothing_is_admitted_after_a_kill_under_a_nemesis() -> None:
    await kill_again_and_again(SHORT_RUNS)


@pytest.mark.slow
async def test_nothing_is_admitted_after_any_of_many_kills_under_a_nemesis() -> None:
    await kill_again_and_again(LONG_RUNS)
