"""What staff ask about limits: explanations, trials, violations; and calls that they write off."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc

from chassis.errors import translate
from gateway import wire
from gateway.admin.audit import Audit, describe
from gateway.decisions import Finished
from gateway.outlooks import Outlooks
from gateway.peers import ADMISSION, Admission, call, call_once
from gateway.principals import Principal, Role, grant_all
from headgate.api.admission.v1 import admission_pb2
from headgate.api.gateway.v1 import gateway_pb2
from headgate.api.gateway.v1 import limit_admin_pb2 as pb


class LimitQuestions:
    """Asks admission, which checks every field."""

    def __init__(self, *, admission: Admission, outlooks: Outlooks, audit: Audit) -> None:
        self._stub = admission.stub
        self._outlooks = outlooks
        self._audit = audit

    async def explain(self, request: pb.ExplainLimitsRequest) -> pb.ExplainLimitsResponse:
        """Tells which limits would apply to a call."""
        wanted = gateway_pb2.AdmitCallRequest()
        wanted.CopyFrom(request.call)
        wanted.org = request.org
        asked_by = Principal(
            actor=request.api_key_id, grants=grant_all(Role.BACKEND, (request.org,))
        )
        found = await self._outlooks.explain(wire.parse_question(wanted, asked_by))
        return pb.ExplainLimitsResponse(
            candidates=found.explanations[0].candidates, limits_version=found.limits_version
        )

    async def simulate(
        self, request: pb.SimulateLimitsRequest
    ) -> AsyncIterator[pb.SimulateLimitsResponse]:
        """Tries limits on the past."""
        wanted = admission_pb2.SimulateLimitsRequest(
            start_time=request.start_time if request.HasField("start_time") else None,
            end_time=request.end_time if request.HasField("end_time") else None,
            limits=request.limits,
            org=request.org,
        )
        try:
            async for each in self._stub.SimulateLimits(wanted, wait_for_ready=True):
                yield pb.SimulateLimitsResponse(
                    replayed_count=each.replayed_count,
                    total_count=each.total_count,
                    report=each.report if each.HasField("report") else None,
                )
        except grpc.aio.AioRpcError as error:
            raise translate(error, peer=ADMISSION) from error

    async def list_violations(
        self, request: pb.ListViolationsRequest
    ) -> pb.ListViolationsResponse:
        """Lists what limits denied."""
        wanted = admission_pb2.ListViolationsRequest(
            page_size=request.page_size,
            page_token=request.page_token,
            limit_id=request.limit_id,
            org=request.org,
        )
        page = await call(ADMISSION, self._stub.ListViolations, wanted)
        return pb.ListViolationsResponse(
            violations=page.violations,
            samples=page.samples,
            next_page_token=page.next_page_token,
        )

    async def write_off(
        self, request: pb.WriteOffCallsRequest, who: Principal
    ) -> pb.WriteOffCallsResponse:
        """Takes what nobody will report out of the counters."""

        async def send(audit_id: str) -> admission_pb2.WriteOffResponse:
            wanted = admission_pb2.WriteOffRequest(
                calls=[
                    admission_pb2.CallKey(org=request.org, call_id=each)
                    for each in request.call_ids
                ],
                reason=request.reason,
                audit_id=audit_id,
            )
            return await call_once(ADMISSION, self._stub.WriteOff, wanted)

        intent = describe(who, "WriteOffCalls", f"org/{request.org}", request)
        done = await self._audit.change_elsewhere(intent, send)
        return pb.WriteOffCallsResponse(
            calls=[
                _render(call_id, each)
                for call_id, each in zip(request.call_ids, done.results, strict=True)
            ]
        )


def _render(call_id: str, result: admission_pb2.EndResult) -> pb.WrittenOffCall:
    if result.HasField("error"):
        return pb.WrittenOffCall(error=result.error)
    finished = wire.render_finished(Finished(call_id=call_id, ended=result.ended))
    return pb.WrittenOffCall(finished=finished)
