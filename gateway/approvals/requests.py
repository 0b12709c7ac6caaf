"""Requests for leave, as backends make them."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from chassis.errors import AlreadyExists, FailedPrecondition, Internal
from gateway.approvals import wire
from gateway.approvals.gate import Gate, cost_nanos_max
from gateway.approvals.store import (
    PENDING_COUNT_MAX,
    Wanted,
    count_pending_approvals,
    fetch_approval_of_call,
    insert_approval,
)
from gateway.approvals.waits import Waits
from gateway.asks import Ask
from gateway.domain.approvals import Approval, Need, subject_of
from gateway.domain.calls import Candidate
from gateway.outlooks import Outlooks
from gateway.principals import Principal
from gateway.store import Store, Transaction
from headgate.api.gateway.v1 import gateway_pb2 as pb


class Requests:
    """Writes down what people are asked, and lets the requester wait for what they say."""

    def __init__(self, *, store: Store, gate: Gate, outlooks: Outlooks, waits: Waits) -> None:
        self._store = store
        self._gate = gate
        self._outlooks = outlooks
        self._waits = waits

    async def begin(
        self, request: pb.RequestApprovalRequest, who: Principal
    ) -> pb.RequestApprovalResponse:
        """Asks people, if the call needs them. Raises ServiceError."""
        question = wire.parse_request(request, who)
        ask = self._outlooks.ask(question.call)
        need = self._gate.find_need(ask)
        if need is None:
            return pb.RequestApprovalResponse()
        wanted = _want(question, ask, need)
        async with self._store.transaction() as on:
            found = await _ask_once(on, wanted)
        if (found.subject, found.requester) != (wanted.subject, who.actor):
            raise AlreadyExists(
                "people were asked about this call id with other fields, or by another key",
                call_id=found.call_id,
            )
        return pb.RequestApprovalResponse(approval=wire.render(found))

    async def follow(
        self, request: pb.AwaitApprovalRequest, who: Principal
    ) -> AsyncGenerator[pb.AwaitApprovalResponse]:
        """Yields the request as it is, then as it ended. Raises ServiceError."""
        approval_id, org = wire.parse_wait(request, who)
        async for found in self._waits.follow(approval_id, org=org, requester=who.actor):
            yield pb.AwaitApprovalResponse(approval=wire.render(found))


async def _ask_once(on: Transaction, wanted: Wanted) -> Approval:
    org, call_id = wanted.call.org, wanted.call.call_id
    found = await fetch_approval_of_call(on, org, call_id)
    if found is None:
        if await count_pending_approvals(on, org) >= PENDING_COUNT_MAX:
            raise FailedPrecondition(
                f"{PENDING_COUNT_MAX} requests of {org} wait for people already",
                "TOO_MANY_APPROVALS",
                org=org,
            )
        await insert_approval(on, wanted)
        found = await fetch_approval_of_call(on, org, call_id)
    if found is None:
        raise Internal
    return found


def _want(question: wire.Question, ask: Ask, need: Need) -> Wanted:
    call = question.call
    return Wanted(
        call=call,
        subject=subject_of(call, call.call_id),
        summary=question.summary,
        need=need,
        candidates=tuple(
            Candidate(provider=each.candidate.provider, model=each.candidate.model)
            for each in ask.request.candidates
        ),
        cost_nanos_max=cost_nanos_max(ask),
        dimensions=ask.request.dimensions,
        lifetime_seconds=question.lifetime_seconds,
    )
