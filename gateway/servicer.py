"""The backends' service: parses, asks, renders."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, cast

import grpc
from google.protobuf.duration_pb2 import Duration

from chassis import server
from gateway import wire, wire_reports
from gateway.approvals.requests import Requests
from gateway.calls import Calls
from gateway.completions import Completions
from gateway.extensions import Extensions
from gateway.feedback import Feedback
from gateway.flights.flights import Flights
from gateway.health_watch import HealthCopy
from gateway.outlooks import Outlooks
from gateway.permits import Signer
from gateway.principals import Principal
from gateway.status_tokens import LIFETIME_SECONDS, StatusTokens
from gateway.status_watch import StatusWatch
from headgate.api.gateway.v1 import gateway_pb2 as pb
from headgate.api.gateway.v1 import gateway_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]


class GatewayServicer(gateway_pb2_grpc.GatewayServiceServicer):
    """Serves backends. Every method needs a key of role backend."""

    def __init__(
        self,
        *,
        calls: Calls,
        completions: Completions,
        extensions: Extensions,
        outlooks: Outlooks,
        approvals: Requests,
        flights: Flights,
        feedback: Feedback,
        copy: HealthCopy,
        signer: Signer,
        statuses: StatusWatch,
        status_tokens: StatusTokens,
    ) -> None:
        self._calls = calls
        self._extensions = extensions
        self._outlooks = outlooks
        self._approvals = approvals
        self._flights = flights
        self._feedback = feedback
        self._completions = completions
        self._copy = copy
        self._signer = signer
        self._statuses = statuses
        self._status_tokens = status_tokens

    async def AdmitCall(
        self, request: pb.AdmitCallRequest, context: Context
    ) -> pb.AdmitCallResponse:
        call = wire.parse_call(request, principal())
        decision = await self._calls.admit(call, deadline=server.deadline())
        response = pb.AdmitCallResponse()
        wire.write_decision(decision, response.decision)
        return response

    async def AdmitCalls(
        self, request: pb.AdmitCallsRequest, context: Context
    ) -> pb.AdmitCallsResponse:
        who = principal()
        calls = wire.parse_each(request.calls, lambda call, at: wire.parse_call(call, who, at))
        decisions = await self._calls.admit_all(calls, deadline=server.deadline())
        response = pb.AdmitCallsResponse()
        for decision in decisions:
            wire.write_decision(decision, response.decisions.add())
        return response

    async def CompleteCall(
        self, request: pb.CompleteCallRequest, context: Context
    ) -> pb.CompleteCallResponse:
        report = wire_reports.parse_report(request, principal(), self._signer)
        receipt = await self._completions.complete(report, deadline=server.deadline())
        return pb.CompleteCallResponse(receipt=wire_reports.render_result(receipt).receipt)

    async def CompleteCalls(
        self, request: pb.CompleteCallsRequest, context: Context
    ) -> pb.CompleteCallsResponse:
        who, signer, parse = principal(), self._signer, wire_reports.parse_report
        reports = wire.parse_each(request.calls, lambda call, at: parse(call, who, signer, at))
        results = await self._completions.complete_all(reports, deadline=server.deadline())
        return pb.CompleteCallsResponse(results=map(wire_reports.render_result, results))

    async def RecordFeedback(
        self, request: pb.RecordFeedbackRequest, context: Context
    ) -> pb.RecordFeedbackResponse:
        name = wire_reports.parse_name(request, principal(), self._signer)
        effect = await self._feedback.record(name, metric=request.metric, score=request.score)
        return pb.RecordFeedbackResponse(effect=effect)

    async def ReleaseCall(
        self, request: pb.ReleaseCallRequest, context: Context
    ) -> pb.ReleaseCallResponse:
        name = wire_reports.parse_name(request, principal(), self._signer)
        finished = await self._completions.release(name, deadline=server.deadline())
        return pb.ReleaseCallResponse(finished=wire.render_finished(finished))

    async def ExtendCall(
        self, request: pb.ExtendCallRequest, context: Context
    ) -> pb.ExtendCallResponse:
        extension = wire_reports.parse_extension(request, principal(), self._signer)
        result = await self._extensions.extend(extension, deadline=server.deadline())
        return wire_reports.render_extension(extension.name.call_id, result)

    async def EstimateCost(
        self, request: pb.EstimateCostRequest, context: Context
    ) -> pb.EstimateCostResponse:
        return await self._outlooks.estimate(wire.parse_question(request.call, principal()))

    async def WatchLimits(
        self, request: pb.WatchLimitsRequest, context: Context
    ) -> AsyncIterator[pb.WatchLimitsResponse]:
        wanted = wire.parse_question(request.call, principal())
        async for state in self._outlooks.watch(wanted):
            yield state

    async def RequestApproval(
        self, request: pb.RequestApprovalRequest, context: Context
    ) -> pb.RequestApprovalResponse:
        return await self._approvals.begin(request, principal())

    async def AwaitApproval(
        self, request: pb.AwaitApprovalRequest, context: Context
    ) -> AsyncIterator[pb.AwaitApprovalResponse]:
        async with aclosing(self._approvals.follow(request, principal())) as states:
            async for state in states:
                yield state

    async def JoinCall(self, request: pb.JoinCallRequest, context: Context) -> pb.JoinCallResponse:
        return await self._flights.join(request, principal())

    async def AwaitAnswer(
        self, request: pb.AwaitAnswerRequest, context: Context
    ) -> pb.AwaitAnswerResponse:
        return await self._flights.wait(request, principal())

    async def ShareAnswer(
        self, request: pb.ShareAnswerRequest, context: Context
    ) -> pb.ShareAnswerResponse:
        return await self._flights.share(request, principal())

    async def GetStatus(
        self, request: pb.GetStatusRequest, context: Context
    ) -> pb.GetStatusResponse:
        return wire_reports.render_status(self._copy, principal())

    async def WatchStatus(
        self, request: pb.WatchStatusRequest, context: Context
    ) -> AsyncIterator[pb.WatchStatusResponse]:
        org, known = wire.parse_status_watch(request, principal())
        async with aclosing(self._statuses.watch(org, known_version=known)) as statuses:
            async for status in statuses:
                yield pb.WatchStatusResponse(status=status)

    async def CreateStatusToken(
        self, request: pb.CreateStatusTokenRequest, context: Context
    ) -> pb.CreateStatusTokenResponse:
        org = wire.parse_status_org(request.org, principal())
        return pb.CreateStatusTokenResponse(
            token=self._status_tokens.make(org), token_duration=Duration(seconds=LIFETIME_SECONDS)
        )


def principal() -> Principal:
    """Returns who makes the current RPC, as the key authenticator found."""
    return cast(Principal, server.principal())
