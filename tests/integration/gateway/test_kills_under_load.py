"""A kill under load, with a gateway that is cut off from health: nothing is admitted after it."""

from __future__ import annotations

import asyncio
import datetime as dt
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from headgate.api.common.v1 import denial_pb2
from headgate.api.gateway.v1 import admin_pb2, gateway_pb2
from tests.integration.gateway.system import GLOBEX_KEY, Keyed, System, eventually, kill, new_id

pb = gateway_pb2
CALLER_COUNT = 8
# The slow test's.
RUN_COUNT = 100


class Cable:
    """Carries a gateway's connections to health until it is cut."""

    def __init__(self, target: str) -> None:
        self._host, _, self._port = target.rpartition(":")
        self._writers: list[asyncio.StreamWriter] = []
        self.is_cut = False

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_cut:
            writer.close()
            return
        far_reader, far_writer = await asyncio.open_connection(self._host, int(self._port))
        self._writers += [writer, far_writer]
        await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))

    def cut(self) -> None:
        self.is_cut = True
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    def mend(self) -> None:
        self.is_cut = False


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    except (ConnectionError, asyncio.CancelledError):
        pass
    finally:
        writer.close()


@asynccontextmanager
async def laid(target: str) -> AsyncIterator[tuple[Cable, str]]:
    cable = Cable(target)
    server = await asyncio.start_server(cable.carry, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    try:
        yield cable, f"{host}:{port}"
    finally:
        server.close()
        cable.cut()


async def ask(backend: Keyed, log: list[tuple[str, pb.CallDecision]], at: str) -> None:
    """One caller: asks without a pause until cancelled."""
    while True:
        request = pb.AdmitCallRequest(call_id=new_id(), operation="summarize", input_token_count=9)
        decision = (await backend.AdmitCall(request)).decision
        log.append((at, decision))
        if decision.WhichOneof("decision") == "admission":
            # Room for the next one: it never left.
            await backend.ReleaseCall(pb.ReleaseCallRequest(permit=decision.admission.permit))


async def database_time(system: System) -> dt.datetime:
    [row] = await system.fetch("admission", "SELECT clock_timestamp() AS now")
    now: dt.datetime = row["now"]
    return now


async def kill_once(system: System, cable: Cable, chance: random.Random) -> None:
    """Kills under load, with the cable cut at some moment about it; checks what was admitted."""
    staff = system.staff()
    backends = [("gateway", system.backend()), ("cut", system.backend(GLOBEX_KEY, at="cut"))]
    log: list[tuple[str, pb.CallDecision]] = []
    callers = [
        asyncio.create_task(ask(backend, log, at))
        for at, backend in backends
        for _ in range(CALLER_COUNT // 2)
    ]

    async def both_admit() -> bool:
        admitted = {at for at, each in log if each.WhichOneof("decision") == "admission"}
        return admitted == {at for at, _ in backends}

    async def cut_sometime() -> None:
        await asyncio.sleep(chance.uniform(0, 0.1))
        cable.cut()

    await eventually(both_admit)
    cutting = asyncio.create_task(cut_sometime())
    await asyncio.sleep(chance.uniform(0.02, 0.1))
    await kill(staff, reason="nemesis", message="Stopped.")
    acknowledged = await database_time(system)
    seen = len(log)

    async def both_answered() -> bool:
        return {at for at, _ in log[seen + CALLER_COUNT :]} == {at for at, _ in backends}

    try:
        await eventually(both_answered)
    finally:
        for caller in callers:
            caller.cancel()
        await asyncio.gather(*callers, cutting, return_exceptions=True)

    late = await system.fetch(
        "admission",
        "SELECT count(*) AS n FROM (SELECT admit_time FROM reservation"
        " UNION ALL SELECT admit_time FROM ended_reservation) AS calls WHERE admit_time > $1",
        acknowledged,
    )
    after = {each.denial.reason for _, each in log[seen + CALLER_COUNT :]}
    assert late[0]["n"] == 0
    assert after == {denial_pb2.DENIAL_REASON_FENCED}
    cable.mend()
    await staff.Resume(admin_pb2.ResumeRequest(reason="over"))


@asynccontextmanager
async def two_gateways(system: System) -> AsyncIterator[Cable]:
    """A second gateway that reaches health by a cable only."""
    async with AsyncExitStack() as stack:
        cable, address = await stack.enter_async_context(laid(system.addresses["health"]))
        await system.start("cut", health_addresses=address)
        yield cable
        await system.stop("cut")


async def test_nothing_is_admitted_after_a_kill_whoever_is_cut_off(system: System) -> None:
    async with two_gateways(system) as cable:
        for run in range(3):
            await kill_once(system, cable, random.Random(run))


@pytest.mark.slow
async def test_nothing_is_admitted_after_any_of_many_kills(system: System) -> None:
    async with two_gateways(system) as cable:
        for run in range(RUN_COUNT):
            await kill_once(system, cable, random.Random(run))
