"""A gRPC channel that keeps the journal and the tally: it sees what the SDK sends and gets."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import grpc.aio

from headgate.api.common.v1 import call_pb2, denial_pb2
from headgate.api.gateway.v1 import gateway_pb2
from local.demo.journal import Journal
from local.demo.tally import Tally

SERVICE: Final = "/headgate.api.gateway.v1.GatewayService/"

Send = Callable[..., Awaitable[Any]]


class Tap:
    """Wraps a channel; everything but the gateway's calls passes through untouched."""

    def __init__(self, channel: grpc.aio.Channel, journal: Journal, tally: Tally) -> None:
        self._channel = channel
        self._journal = journal
        self._tally = tally
        self._orgs: dict[str, str] = {}
        self._outcomes: dict[str, str] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)

    def unary_unary(self, method: str, *args: Any, **kwargs: Any) -> Send:
        """Returns the channel's own callable, wrapped for the methods that are recorded."""
        send: Send = self._channel.unary_unary(method, *args, **kwargs)
        match method.removeprefix(SERVICE):
            case "AdmitCall" | "AdmitCalls":
                return self._admit(send)
            case "CompleteCall" | "CompleteCalls":
                return self._complete(send)
            case "ReleaseCall":
                return self._release(send)
        return send

    def _admit(self, send: Send) -> Send:
        async def admit(request: Any, **options: Any) -> Any:
            batch = isinstance(request, gateway_pb2.AdmitCallsRequest)
            calls = request.calls if batch else [request]
            self._journal.asked(calls)
            sent_seconds = time.monotonic()
            response = await send(request, **options)
            decisions = response.decisions if batch else [response.decision]
            self._tally.answered(time.monotonic() - sent_seconds, count=len(calls))
            self._journal.decided(calls, decisions, sent_seconds=sent_seconds)
            self._count_decisions(calls, decisions)
            return response

        return admit

    def _complete(self, send: Send) -> Send:
        async def complete(request: Any, **options: Any) -> Any:
            batch = isinstance(request, gateway_pb2.CompleteCallsRequest)
            reports = request.calls if batch else [request]
            for report in reports:
                call_id = self._journal.reporting(report)
                self._outcomes[call_id] = _name(call_pb2.CallOutcome, report.outcome)
            response = await send(request, **options)
            receipts = (
                [each.receipt for each in response.results if each.HasField("receipt")]
                if batch
                else [response.receipt]
            )
            for receipt in receipts:
                self._journal.booked(receipt)
                self._count_receipt(receipt)
            return response

        return complete

    def _release(self, send: Send) -> Send:
        async def release(request: Any, **options: Any) -> Any:
            response = await send(request, **options)
            self._journal.released(response.finished)
            org = self._orgs.get(response.finished.call_id)
            if org is not None:
                self._tally.org(org).released += 1
            return response

        return release

    def _count_decisions(
        self,
        calls: Sequence[gateway_pb2.AdmitCallRequest],
        decisions: Sequence[gateway_pb2.CallDecision],
    ) -> None:
        for call, decision in zip(calls, decisions, strict=True):
            kind = decision.WhichOneof("decision")
            if kind == "denial":
                reason = _name(denial_pb2.DenialReason, decision.denial.reason)
                self._tally.org(call.org).denied[reason] += 1
            elif kind == "admission" and call.call_id not in self._orgs:
                org = decision.admission.org
                self._orgs[call.call_id] = org
                self._tally.org(org).admitted += 1
                self._tally.org(org).failed_over += bool(call.parent_call_id)

    def _count_receipt(self, receipt: gateway_pb2.CallReceipt) -> None:
        org = self._orgs.get(receipt.call_id)
        outcome = self._outcomes.pop(receipt.call_id, None)
        if org is not None and outcome is not None:
            self._tally.org(org).completed[outcome] += 1
            self._tally.org(org).booked_nanos += receipt.total_nanos


def _name(enum: Any, value: int) -> str:
    """Returns an enum value's name for people, such as "budget exceeded"."""
    prefix = {"CallOutcome": "CALL_OUTCOME_", "DenialReason": "DENIAL_REASON_"}
    name = enum.Name(value) if value in enum.values() else str(value)
    return str(name).removeprefix(prefix[enum.DESCRIPTOR.name]).replace("_", " ").lower()
