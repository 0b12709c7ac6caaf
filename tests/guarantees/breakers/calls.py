"""Backends whose provider fails now and then, and what they logged."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import random
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import grpc
from google.protobuf.duration_pb2 import Duration

from headgate.api.common.v1 import call_pb2
from headgate.api.gateway.v1 import gateway_pb2 as pb
from headgate.api.gateway.v1 import gateway_pb2_grpc, permit_pb2
from headgate.channel import authorization, open_channel
from headgate.ids import IdMaker
from tests.guarantees.breakers.checker import Call
from tests.guarantees.callers import OPERATION
from tests.guarantees.nemesis.history import Action, Kind, Log, Operation

CALLER_COUNT: Final = 16
RPC_SECONDS: Final = 4.0
PAUSE_SECONDS: Final = 0.1
# Calls take so long, at most; one of so many takes longer.
CALL_SECONDS: Final = 0.15
LONG_CALL_SECONDS: Final = 3.5
LONG_EVERY: Final = 4
# One of so many never tells how it ended: its backend died.
FORGOTTEN_EVERY: Final = 12
# Of an HMAC-SHA256, which follows the facts of a permit.
SIGNATURE_SIZE: Final = 32


class World:
    """The provider: for how long it goes on failing, or working, is drawn."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.is_well = True

    async def turn(self, stop: asyncio.Event) -> None:
        """Fails and recovers until told to stop; then it is well."""
        while not stop.is_set():
            seconds = self._chance.uniform(1.0, 4.0)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await stop.wait()
            self.is_well = stop.is_set() or not self.is_well


async def call(
    gateways: Sequence[str],
    keys: Mapping[str, str],
    log_path: Path,
    world: World,
    *,
    stop: asyncio.Event,
    seed: int,
) -> None:
    """Calls over all gateways and in the name of all orgs until told to stop."""
    async with contextlib.AsyncExitStack() as stack:
        log = stack.enter_context(Log(log_path, process=log_path.stem))
        stubs = [
            gateway_pb2_grpc.GatewayServiceStub(
                await stack.enter_async_context(open_channel(address))
            )
            for address in gateways
        ]
        async with asyncio.TaskGroup() as group:
            for number in range(CALLER_COUNT):
                chance = random.Random(f"{seed}/{number}")
                group.create_task(_Caller(stubs, keys, log, world, chance).run(stop))


class _Caller:
    def __init__(
        self,
        stubs: Sequence[gateway_pb2_grpc.GatewayServiceAsyncStub],
        keys: Mapping[str, str],
        log: Log,
        world: World,
        chance: random.Random,
    ) -> None:
        self._stubs = stubs
        self._keys = keys
        self._log = log
        self._world = world
        self._chance = chance
        self._ids = IdMaker()

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            org = self._chance.choice(list(self._keys))
            call_id = self._ids.make()
            request = pb.AdmitCallRequest(
                call_id=call_id, org=org, operation=OPERATION, input_token_count=10
            )
            answer = await self._ask(Action.ADMIT, (org, call_id), request, {})
            if answer is not None and answer.decision.HasField("admission"):
                # As it was when the call began: what takes long tells of other times.
                succeeded = self._world.is_well
                is_long = self._chance.randrange(LONG_EVERY) == 0
                longest = LONG_CALL_SECONDS if is_long else CALL_SECONDS
                await asyncio.sleep(self._chance.random() * longest)
                await self._report(org, answer.decision.admission, succeeded=succeeded)
            await asyncio.sleep(self._chance.random() * PAUSE_SECONDS)

    async def _report(self, org: str, admission: pb.Admission, *, succeeded: bool) -> None:
        if self._chance.randrange(FORGOTTEN_EVERY) == 0:
            return
        outcome = (
            call_pb2.CALL_OUTCOME_SUCCEEDED if succeeded else call_pb2.CALL_OUTCOME_PROVIDER_FAILED
        )
        request = pb.CompleteCallRequest(
            permit=admission.permit,
            outcome=outcome,
            meters=call_pb2.UsageMeters(input_token_count=10, output_token_count=1),
            latency=Duration(nanos=50_000_000),
        )
        facts = {"succeeded": succeeded}
        await self._ask(Action.COMPLETE, (org, admission.call_id), request, facts)

    async def _ask(
        self, action: Action, key: tuple[str, str], request: Any, facts: dict[str, Any]
    ) -> Any:
        """Asks one gateway, once."""
        org, call_id = key
        stub = self._chance.choice(self._stubs)
        method: Any = stub.AdmitCall if action is Action.ADMIT else stub.CompleteCall
        invoked = self._log.invoke(action, org, call_id, facts)
        try:
            answer = await method(
                request, metadata=authorization(self._keys[org]), timeout=RPC_SECONDS
            )
        except grpc.aio.AioRpcError as error:
            self._log.end(invoked, Kind.INFO, {"code": error.code().name})
            return None
        self._log.end(invoked, Kind.OK, _facts(answer) if action is Action.ADMIT else {})
        return answer


def _facts(answer: pb.AdmitCallResponse) -> dict[str, Any]:
    if not answer.decision.HasField("admission"):
        return {}
    admission = answer.decision.admission
    permit = permit_pb2.Permit.FromString(admission.permit[:-SIGNATURE_SIZE])
    return {
        "provider": permit.candidate.provider,
        "model": permit.candidate.model,
        "epoch": permit.breaker_epoch,
        "admit_time": admission.admit_time.ToDatetime(dt.UTC).isoformat(),
    }


def admitted(operations: Sequence[Operation]) -> list[Call]:
    """The calls that were admitted, with what their callers reported."""
    reports = {
        (each.org, each.call_id): each for each in operations if each.action is Action.COMPLETE
    }
    calls = []
    for each in operations:
        if each.action is not Action.ADMIT or "epoch" not in each.facts:
            continue
        report = reports.get((each.org, each.call_id))
        calls.append(
            Call(
                org=each.org,
                call_id=each.call_id,
                provider=each.facts["provider"],
                model=each.facts["model"],
                epoch=each.facts["epoch"],
                admit_time=dt.datetime.fromisoformat(each.facts["admit_time"]),
                succeeded=report.request["succeeded"] if report else None,
                report_time=_time(report.invoke_ns) if report else None,
            )
        )
    return calls


def _time(nanos: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(nanos / 1e9, dt.UTC)


def now() -> dt.datetime:
    """This machine's clock, which is the database's."""
    return _time(time.time_ns())
