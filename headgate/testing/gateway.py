"""A gateway in memory: ids, holds and denials as the contract says, and faults on demand."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import grpc
import grpc.aio

from headgate.api.gateway.v1 import approval_pb2
from headgate.api.gateway.v1 import gateway_pb2 as pb
from headgate.client import Client
from headgate.sync import SyncClient
from headgate.testing import outlooks, wires
from headgate.testing.entries import Everybody, Refusal
from headgate.testing.faults import FailedError, Failure, Faults, apply
from headgate.testing.ledger import Ledger
from headgate.testing.signals import Signal

if TYPE_CHECKING:
    from google.protobuf.message import Message

    # Returns a state, and whether it is the last one.
    _Look: TypeAlias = Callable[[Any, tuple[str, ...]], tuple[Message, bool]]

BATCH_SIZE_MAX: Final = 256
# Bounds a test that has gone wrong.
WAIT_SECONDS_MAX: Final = 10.0
API_KEY: Final = "hg_k1_0123456789abcdef"
# Where no server is: clients of the fake in memory never connect.
_NOWHERE: Final = "unix:headgate"
_KINDS: Final = {
    "AdmitCall": "admit",
    "AdmitCalls": "admit",
    "CompleteCall": "complete",
    "CompleteCalls": "complete",
    "ReleaseCall": "release",
    "RecordFeedback": "feedback",
    "GetStatus": "status",
    "ExtendCall": "extend",
    "EstimateCost": "estimate",
    "WatchLimits": "watch",
    "RequestApproval": "approval",
    "AwaitApproval": "decision",
}
# How often a stream looks for changes: tests change the ledger without an RPC.
WATCH_SECONDS: Final = 0.02


@dataclass(slots=True)
class FakeGateway:
    """Answers like a gateway, in memory or, within `serve_gateway`, behind a real server.

    Plant faults by kind of RPC ("admit", "complete", "release", "feedback", "status", "extend",
    "estimate", "watch", "approval", "decision"; a batch counts as its single form); read `rpcs`
    and `ledger` afterwards.
    """

    ledger: Ledger = field(default_factory=Ledger)
    faults: Faults = field(default_factory=Faults)
    # Orgs of each API key; the first one is its default.
    keys: dict[str, tuple[str, ...]] = field(default_factory=lambda: {API_KEY: ("acme",)})
    # Every key acts for every org, and there is a route for every operation.
    permissive: bool = False
    # Method and number of its members, in the order of arrival.
    rpcs: list[tuple[str, int]] = field(default_factory=list)
    # What came with each of them besides the key.
    metadata: list[dict[str, str]] = field(default_factory=list)
    # Where it is served.
    target: str = ""
    _waiters: list[tuple[Callable[[], bool], Signal]] = field(default_factory=list)
    # Clients of several threads may share it.
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def client(self, *, api_key: str = API_KEY, **options: Any) -> Client:
        """Returns a client of this fake that needs no network; options are the client's own."""
        return Client(_NOWHERE, api_key=api_key, open_channel=self.open_channel, **options)

    def sync_client(self, *, api_key: str = API_KEY, **options: Any) -> SyncClient:
        """Returns a blocking client of this fake that needs no network."""
        return SyncClient(_NOWHERE, api_key=api_key, open_channel=self.open_channel, **options)

    def open_channel(self) -> grpc.aio.Channel:
        """Returns a channel for stubs that needs no network."""
        return wires.open_local_channel(self.answer, self.stream)

    async def wait_for_end(self, call_id: str) -> None:
        """Returns when the call is finished. Raises TimeoutError if it takes suspiciously long."""
        await self.wait_until(lambda: self._is_ended(call_id))

    async def wait_for_rpc(self, method: str, *, count: int = 1) -> None:
        """Returns when the method has been called so often."""
        await self.wait_until(lambda: self.count(method) >= count)

    async def wait_until(self, holds: Callable[[], bool]) -> None:
        """Returns when the condition holds after an RPC."""
        signal = Signal()
        with self._lock:
            self._waiters.append((holds, signal))
        self._tell()
        await asyncio.wait_for(signal.wait(), WAIT_SECONDS_MAX)

    def count(self, method: str) -> int:
        """Returns how often the method was called."""
        return sum(1 for each, _ in self.rpcs if each == method)

    def _is_ended(self, call_id: str) -> bool:
        return any(
            each.call_id == call_id and each.state is not None
            for each in list(self.ledger.entries.values())
        )

    async def answer(self, method: str, request: Any, metadata: dict[str, str]) -> Message:
        """Answers one RPC: authenticates, applies faults around the effect. Raises FailedError."""
        count = len(request.calls) if "calls" in type(request).DESCRIPTOR.fields_by_name else 1
        self._note(method, count, metadata)
        fault = self.faults.take(_KINDS.get(method, method))
        await apply(fault, after=False)
        try:
            orgs = self._authenticate(metadata)
            _check_count(count)
            with self._lock:
                answer = self._effect(method, request, orgs)
        except Refusal as refusal:
            raise FailedError(refusal.to_failure()) from None
        self._tell()
        await apply(fault, after=True)
        return answer

    async def stream(
        self, method: str, request: Any, metadata: dict[str, str]
    ) -> AsyncIterator[Message]:
        """Answers a streaming RPC: the state at once, and whenever it changes.

        Raises FailedError.
        """
        self._note(method, 1, metadata)
        await apply(self.faults.take(_KINDS.get(method, method)), after=False)
        look: _Look | None = getattr(self, f"_see_{method}", None)
        if look is None:
            raise FailedError(Failure(code=grpc.StatusCode.UNIMPLEMENTED, message=method))
        last, is_last = None, False
        while not is_last:
            try:
                state, is_last = look(request, self._authenticate(metadata))
            except Refusal as refusal:
                raise FailedError(refusal.to_failure()) from None
            if state != last:
                yield state
            last = state
            await asyncio.sleep(WATCH_SECONDS)

    def _see_WatchLimits(  # noqa: N802 - the contract's name
        self, request: pb.WatchLimitsRequest, orgs: tuple[str, ...]
    ) -> tuple[Message, bool]:
        org = self._parse_question(request.call, orgs)
        return outlooks.look(self.ledger, request.call, org), False

    def _see_AwaitApproval(  # noqa: N802 - the contract's name
        self, request: pb.AwaitApprovalRequest, orgs: tuple[str, ...]
    ) -> tuple[Message, bool]:
        found = self.ledger.approvals.look(request.approval_id, _choose(request.org, orgs))
        is_last = found.state != approval_pb2.APPROVAL_STATE_PENDING
        return pb.AwaitApprovalResponse(approval=found), is_last

    def _note(self, method: str, count: int, metadata: dict[str, str]) -> None:
        self.rpcs.append((method, count))
        self.metadata.append({key: metadata[key] for key in metadata if key != "authorization"})
        self._tell()

    def _effect(self, method: str, request: Any, orgs: tuple[str, ...]) -> Message:
        effect: Callable[[Any, tuple[str, ...]], Message] | None = getattr(
            self, f"_do_{method}", None
        )
        if effect is None:
            raise FailedError(Failure(code=grpc.StatusCode.UNIMPLEMENTED, message=method))
        return effect(request, orgs)

    def _do_AdmitCall(  # noqa: N802 - the contract's name
        self, request: pb.AdmitCallRequest, orgs: tuple[str, ...]
    ) -> Message:
        decision = self.ledger.admit(request, _choose(request.org, orgs))
        return pb.AdmitCallResponse(decision=decision)

    def _do_AdmitCalls(  # noqa: N802 - the contract's name
        self, request: pb.AdmitCallsRequest, orgs: tuple[str, ...]
    ) -> Message:
        answer = pb.AdmitCallsResponse()
        for each in request.calls:
            try:
                answer.decisions.append(self.ledger.admit(each, _choose(each.org, orgs)))
            except Refusal as refusal:
                answer.decisions.add(error=refusal.to_message())
        return answer

    def _do_CompleteCall(  # noqa: N802 - the contract's name
        self, request: pb.CompleteCallRequest, orgs: tuple[str, ...]
    ) -> Message:
        return pb.CompleteCallResponse(receipt=self.ledger.complete(request, orgs))

    def _do_CompleteCalls(  # noqa: N802 - the contract's name
        self, request: pb.CompleteCallsRequest, orgs: tuple[str, ...]
    ) -> Message:
        answer = pb.CompleteCallsResponse()
        for each in request.calls:
            try:
                answer.results.add(receipt=self.ledger.complete(each, orgs))
            except Refusal as refusal:
                answer.results.add(error=refusal.to_message())
        return answer

    def _do_ReleaseCall(  # noqa: N802 - the contract's name
        self, request: pb.ReleaseCallRequest, orgs: tuple[str, ...]
    ) -> Message:
        return pb.ReleaseCallResponse(finished=self.ledger.release(request, orgs))

    def _do_RecordFeedback(  # noqa: N802 - the contract's name
        self, request: pb.RecordFeedbackRequest, orgs: tuple[str, ...]
    ) -> Message:
        return pb.RecordFeedbackResponse(effect=self.ledger.rate(request, orgs))

    def _do_ExtendCall(  # noqa: N802 - the contract's name
        self, request: pb.ExtendCallRequest, orgs: tuple[str, ...]
    ) -> Message:
        return outlooks.extend(self.ledger, request, orgs)

    def _do_EstimateCost(  # noqa: N802 - the contract's name
        self, request: pb.EstimateCostRequest, orgs: tuple[str, ...]
    ) -> Message:
        org = self._parse_question(request.call, orgs)
        return outlooks.estimate(self.ledger, request.call, org)

    def _parse_question(self, call: pb.AdmitCallRequest, orgs: tuple[str, ...]) -> str:
        outlooks.check_question(call)
        return _choose(call.org, orgs)

    def _do_RequestApproval(  # noqa: N802 - the contract's name
        self, request: pb.RequestApprovalRequest, orgs: tuple[str, ...]
    ) -> Message:
        org, route = _choose(request.call.org, orgs), self.ledger.find_route
        return self.ledger.approvals.begin(request, org, route)

    def _do_GetStatus(  # noqa: N802 - the contract's name
        self, request: pb.GetStatusRequest, orgs: tuple[str, ...]
    ) -> Message:
        return outlooks.tell_status(self.ledger)

    def _authenticate(self, metadata: dict[str, str]) -> tuple[str, ...]:
        if self.permissive:
            return Everybody(("acme",))
        key = metadata.get("authorization", "").removeprefix("Bearer ")
        if key not in self.keys:
            raise Refusal(grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")
        return self.keys[key]

    def _tell(self) -> None:
        """Wakes those whose condition holds now."""
        with self._lock:
            waiters = list(self._waiters)
        for waiter in waiters:
            holds, signal = waiter
            if holds():
                signal.set()
                with self._lock, contextlib.suppress(ValueError):
                    self._waiters.remove(waiter)


def _check_count(count: int) -> None:
    if not 1 <= count <= BATCH_SIZE_MAX:
        raise Refusal(
            grpc.StatusCode.INVALID_ARGUMENT,
            "INVALID_ARGUMENT",
            violations=(("calls", f"must have 1 to {BATCH_SIZE_MAX} members"),),
        )


def _choose(org: str, orgs: Sequence[str]) -> str:
    if org and org not in orgs:
        raise Refusal(grpc.StatusCode.NOT_FOUND, "ORG_NOT_FOUND", org=org)
    return org or orgs[0]


@contextlib.asynccontextmanager
async def serve_gateway(fake: FakeGateway | None = None) -> AsyncIterator[FakeGateway]:
    """Serves the fake on this machine, where it was served before, else on a free port.

    `target` tells where. Leaving cuts all connections at once, as a killed gateway does.
    """
    fake = fake or FakeGateway()
    where = fake.target or "127.0.0.1:0"
    async with wires.serving(fake.answer, fake.stream, where) as port:
        fake.target = f"127.0.0.1:{port}"
        yield fake
