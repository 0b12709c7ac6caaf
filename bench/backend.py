"""What a backend sends: the units of work that the loops repeat."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Iterable
from typing import Final, TypeAlias

import grpc

from bench.load import Work
from headgate.api.common.v1 import call_pb2, limit_pb2
from headgate.api.gateway.v1 import admin_pb2, admin_pb2_grpc, gateway_pb2_grpc
from headgate.api.gateway.v1 import gateway_pb2 as pb
from headgate.channel import authorization
from headgate.ids import IdMaker

OPERATION: Final = "summarize"
BATCH_SIZE: Final = 32
DEADLINE_SECONDS: Final = 30.0
# Orgs whose callers share the load that is not on one hot org.
ORG_COUNT: Final = 16
HOT_ORG: Final = "bench-0"
# Larger than any run uses: the caps are read and written for each call, and never reached.
ROOMY_CAP: Final = 10**17
METERS: Final = call_pb2.UsageMeters(input_token_count=420, output_token_count=180)

Metadata: TypeAlias = tuple[tuple[str, str], ...]
# A permit, and who got it.
Ticket: TypeAlias = tuple[bytes, Metadata]


class UnexpectedAnswerError(Exception):
    """The call was not admitted, or not booked."""


class Backend:
    """Callers of all orgs behind one channel."""

    def __init__(self, channel: grpc.aio.Channel, keys: dict[str, str]) -> None:
        self._stub = gateway_pb2_grpc.GatewayServiceStub(channel)
        self._ids = IdMaker()
        self._orgs = itertools.cycle([(org, authorization(key)) for org, key in keys.items()])
        self._hot = (HOT_ORG, authorization(keys[HOT_ORG]))

    async def admit(self) -> int:
        """Admits one call of the next org."""
        org, metadata = next(self._orgs)
        await self._admit(org, metadata)
        return 1

    async def admit_hot(self) -> int:
        """Admits one call of the hot org."""
        await self._admit(*self._hot)
        return 1

    async def admit_batch(self) -> int:
        """Admits a batch of one org's calls."""
        org, metadata = next(self._orgs)
        request = pb.AdmitCallsRequest(calls=[self._request(org) for _ in range(BATCH_SIZE)])
        answer = await self._stub.AdmitCalls(request, metadata=metadata, timeout=DEADLINE_SECONDS)
        _check(answer.decisions)
        return BATCH_SIZE

    async def cycle(self) -> int:
        """Admits one call, and reports it after no time at all."""
        await self.end(await self.start())
        return 1

    async def start(self) -> Ticket:
        """Admits one call of the next org; returns what completes it."""
        org, metadata = next(self._orgs)
        return (await self._admit(org, metadata)).permit, metadata

    async def end(self, ticket: Ticket) -> None:
        """Reports a call that was admitted."""
        permit, metadata = ticket
        answer = await self._stub.CompleteCall(
            pb.CompleteCallRequest(
                permit=permit, outcome=call_pb2.CALL_OUTCOME_SUCCEEDED, meters=METERS
            ),
            metadata=metadata,
            timeout=DEADLINE_SECONDS,
        )
        if not answer.receipt.total_nanos:
            raise UnexpectedAnswerError(str(answer))

    async def fetch_answer(self) -> pb.AdmitCallResponse:
        """Returns a real answer, for the baseline to repeat."""
        org, metadata = self._hot
        return await self._send(self._request(org), metadata)

    async def _admit(self, org: str, metadata: Metadata) -> pb.Admission:
        answer = await self._send(self._request(org), metadata)
        _check([answer.decision])
        return answer.decision.admission

    def _send(
        self, request: pb.AdmitCallRequest, metadata: Metadata
    ) -> Awaitable[pb.AdmitCallResponse]:
        return self._stub.AdmitCall(request, metadata=metadata, timeout=DEADLINE_SECONDS)

    def _request(self, org: str) -> pb.AdmitCallRequest:
        return pb.AdmitCallRequest(
            call_id=self._ids.make(),
            org=org,
            operation=OPERATION,
            input_token_count=420,
            max_output_token_count=256,
        )


def works(backend: Backend) -> dict[str, Work]:
    """Returns the units of work by their names."""
    return {
        "unary": backend.admit,
        "hot": backend.admit_hot,
        "batch": backend.admit_batch,
        "cycle": backend.cycle,
    }


async def prepare(channel: grpc.aio.Channel, admin_key: str) -> dict[str, str]:
    """Makes the caps roomy and a key for each org; returns the keys by org."""
    stub, metadata = admin_pb2_grpc.AdminServiceStub(channel), authorization(admin_key)
    listed = await stub.ListLimits(admin_pb2.ListLimitsRequest(), metadata=metadata)
    for limit in listed.limits:
        roomy = limit_pb2.Limit()
        roomy.CopyFrom(limit)
        roomy.cap = ROOMY_CAP
        await stub.PutLimit(admin_pb2.PutLimitRequest(limit=roomy), metadata=metadata)
    keys = {}
    for org in (f"bench-{number}" for number in range(ORG_COUNT)):
        request = admin_pb2.CreateApiKeyRequest(name=org, role=admin_pb2.ROLE_BACKEND, orgs=[org])
        keys[org] = (await stub.CreateApiKey(request, metadata=metadata)).secret
    return keys


def _check(decisions: Iterable[pb.CallDecision]) -> None:
    for decision in decisions:
        if not decision.HasField("admission"):
            raise UnexpectedAnswerError(str(decision))
