"""Budget increases: asked for by some, decided by others, and gone by themselves at their end."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, TypeAlias

from chassis.checks import Checks
from chassis.errors import (
    AlreadyExists,
    FailedPrecondition,
    FieldViolation,
    InvalidArgument,
    NotFound,
)
from gateway import wire
from gateway.admin.audit import Audit, describe
from gateway.admin.lists import newest_first, take_page
from gateway.admin.wire_keys import render_time
from gateway.approvals.budget_store import (
    Increase,
    StoredIncrease,
    begin_decision,
    decide_increase,
    fetch_increase,
    insert_increase,
    list_increases,
)
from gateway.approvals.wire import read_text
from gateway.domain.approvals import Obstacle, State, decided_state, judge
from gateway.domain.estimates import HOLD_NANOS_MAX
from gateway.peers import ADMISSION, Admission, call
from gateway.principals import Principal
from gateway.store import Store, Transaction
from headgate.api.admission.v1 import admission_pb2
from headgate.api.common.v1 import limit_pb2
from headgate.api.gateway.v1 import approval_pb2
from headgate.api.gateway.v1 import limit_admin_pb2 as pb

_Decision: TypeAlias = pb.ApproveBudgetIncreaseRequest | pb.RejectBudgetIncreaseRequest
_LIMIT_ID_LENGTH_MAX: Final = 64


class Budgets:
    """Keeps what is asked for; the room itself is a limit of admission's, with an end."""

    def __init__(self, *, store: Store, admission: Admission, audit: Audit) -> None:
        self._store = store
        self._stub = admission.stub
        self._audit = audit

    async def ask(
        self, request: pb.RequestBudgetIncreaseRequest, who: Principal
    ) -> pb.RequestBudgetIncreaseResponse:
        """Asks for more room. Raises InvalidArgument, NotFound, AlreadyExists."""
        wanted = _parse(request, who)
        limit = await self._find_limit(wanted.limit_id)
        wanted = replace(wanted, metric=limit.metric)
        _boost(limit, wanted, "")
        target = f"increase/{wanted.increase_id}"
        intent = describe(who, "RequestBudgetIncrease", target, request)
        stored = await self._audit.change_own(intent, lambda on: _ask_once(on, wanted))
        return pb.RequestBudgetIncreaseResponse(increase=_render(stored))

    async def list(self, request: pb.ListBudgetIncreasesRequest) -> pb.ListBudgetIncreasesResponse:
        """Lists what was asked for, newest first."""
        checks = Checks()
        if request.org:
            checks.text("org", request.org, max_length=wire.ORG_LENGTH_MAX, pattern=wire.ORG)
        if request.state:
            checks.choice("state", request.state, allowed=[state.value for state in State])
        checks.raise_if_any()
        place = newest_first(request, f"increases/{request.org}/{request.state}")
        rows = await list_increases(
            self._store,
            below=place.start,
            count_max=place.size + 1,
            org=request.org,
            state=request.state,
        )
        page, token = take_page(rows, place, lambda row: row.position)
        return pb.ListBudgetIncreasesResponse(increases=map(_render, page), next_page_token=token)

    async def approve(
        self, request: pb.ApproveBudgetIncreaseRequest, who: Principal
    ) -> pb.ApproveBudgetIncreaseResponse:
        """Gives the room. Raises NotFound, FailedPrecondition, AlreadyExists."""
        increase_id = _parse_decision(request, reason_length_min=0)
        intent = describe(who, "ApproveBudgetIncrease", f"increase/{increase_id}", request)

        async def send(audit_id: str) -> StoredIncrease:
            # Whoever decides meanwhile waits for this row: what is refused gets no room.
            async with self._store.transaction() as on:
                found = await _begin(on, increase_id, who, approved=True)
                if found.state is State.PENDING:
                    limit = await self._find_limit(found.increase.limit_id)
                    boost = _boost(limit, found.increase, found.boost_limit_id)
                    wanted = admission_pb2.PutLimitRequest(limit=boost, audit_id=audit_id)
                    await call(ADMISSION, self._stub.PutLimit, wanted)
                return await _decide(on, found, who, intent.reason, approved=True)

        stored = await self._audit.change_elsewhere(intent, send)
        return pb.ApproveBudgetIncreaseResponse(increase=_render(stored))

    async def reject(
        self, request: pb.RejectBudgetIncreaseRequest, who: Principal
    ) -> pb.RejectBudgetIncreaseResponse:
        """Refuses it. Raises NotFound, FailedPrecondition."""
        increase_id = _parse_decision(request, reason_length_min=1)
        intent = describe(who, "RejectBudgetIncrease", f"increase/{increase_id}", request)

        async def work(on: Transaction) -> StoredIncrease:
            found = await _begin(on, increase_id, who, approved=False)
            return await _decide(on, found, who, intent.reason, approved=False)

        stored = await self._audit.change_own(intent, work)
        return pb.RejectBudgetIncreaseResponse(increase=_render(stored))

    async def _find_limit(self, limit_id: str) -> limit_pb2.Limit:
        wanted = admission_pb2.ListLimitsRequest(limit_id=limit_id, page_size=1)
        found: Sequence[limit_pb2.Limit] = (
            await call(ADMISSION, self._stub.ListLimits, wanted)
        ).limits
        if not found:
            raise NotFound("limit", limit_id)
        return found[0]


async def _ask_once(on: Transaction, wanted: Increase) -> StoredIncrease:
    if not await insert_increase(on, wanted) and not await fetch_increase(on, wanted.increase_id):
        raise InvalidArgument([FieldViolation("end_time", "must lie ahead, at most 366 days")])
    stored = await fetch_increase(on, wanted.increase_id)
    if stored is None or stored.increase != wanted:
        raise AlreadyExists("the id was used for another request", increase_id=wanted.increase_id)
    return stored


async def _begin(
    on: Transaction, increase_id: str, who: Principal, *, approved: bool
) -> StoredIncrease:
    found = await begin_decision(on, increase_id)
    if found is None:
        raise NotFound("increase", increase_id)
    obstacle = judge(found.state, found.increase.requester, actor=who.actor, approved=approved)
    if obstacle is Obstacle.OWN:
        raise FailedPrecondition(
            "nobody decides on what they asked for themselves", "OWN_REQUEST", request=increase_id
        )
    if obstacle is not None:
        state = found.state.name.lower()
        raise FailedPrecondition(
            f"the request is {state} already",
            "INCREASE_CLOSED",
            increase=increase_id,
            state=state,
        )
    return found


async def _decide(
    on: Transaction, found: StoredIncrease, who: Principal, reason: str, *, approved: bool
) -> StoredIncrease:
    if found.state is decided_state(approved=approved):
        return found
    increase_id = found.increase.increase_id
    await decide_increase(on, increase_id, approved=approved, decider=who.actor, reason=reason)
    return await fetch_increase(on, increase_id) or found


def _boost(limit: limit_pb2.Limit, increase: Increase, boost_limit_id: str) -> limit_pb2.Limit:
    """Returns the limit that gives the room: the same one with a higher cap and an end, for the
    org alone that asks. Raises NotFound if the limit is not about the org, InvalidArgument.
    """
    org = limit.scope.get("org", "")
    if org not in ("*", increase.org):
        raise NotFound("limit", increase.limit_id)
    if limit.cap + increase.amount > HOLD_NANOS_MAX:
        text = f"must leave the cap at most {HOLD_NANOS_MAX}"
        raise InvalidArgument([FieldViolation("amount", text)])
    boost = limit_pb2.Limit()
    boost.CopyFrom(limit)
    boost.ClearField("version")
    boost.ClearField("start_time")
    boost.limit_id = boost_limit_id
    boost.cap += increase.amount
    boost.end_time.FromDatetime(increase.end_time)
    if increase.org:
        boost.scope["org"] = increase.org
    return boost


def _parse(request: pb.RequestBudgetIncreaseRequest, who: Principal) -> Increase:
    checks = Checks()
    increase_id = wire.read_id(checks, "increase_id", request.increase_id)
    if request.org:
        checks.text("org", request.org, max_length=wire.ORG_LENGTH_MAX, pattern=wire.ORG)
    length = _LIMIT_ID_LENGTH_MAX
    checks.text("limit_id", request.limit_id, max_length=length, pattern=wire.NAME)
    checks.integer("amount", request.amount, minimum=1, maximum=HOLD_NANOS_MAX)
    read_text(checks, "reason", request.reason)
    end_time = dt.datetime.now(dt.UTC)
    try:
        end_time = request.end_time.ToDatetime(tzinfo=dt.UTC)
    except ValueError:
        checks.violate("end_time", "is no instant")
    checks.raise_if_any()
    return Increase(
        increase_id=increase_id,
        org=request.org,
        limit_id=request.limit_id,
        metric=limit_pb2.METRIC_UNSPECIFIED,
        amount=request.amount,
        end_time=end_time,
        reason=request.reason,
        requester=who.actor,
    )


def _parse_decision(request: _Decision, *, reason_length_min: int) -> str:
    checks = Checks()
    increase_id = wire.read_id(checks, "increase_id", request.increase_id)
    read_text(checks, "reason", request.reason, min_length=reason_length_min)
    checks.raise_if_any()
    return increase_id


def _render(stored: StoredIncrease) -> pb.BudgetIncrease:
    increase = stored.increase
    return pb.BudgetIncrease(
        increase_id=increase.increase_id,
        org=increase.org,
        limit_id=increase.limit_id,
        metric=limit_pb2.Metric.ValueType(increase.metric),
        amount=increase.amount,
        end_time=render_time(increase.end_time),
        reason=increase.reason,
        requester=increase.requester,
        create_time=render_time(stored.create_time),
        state=approval_pb2.ApprovalState.ValueType(stored.state.value),
        decide_time=render_time(stored.decide_time),
        decider=stored.decider,
        decision_reason=stored.decision_reason,
        boost_limit_id=stored.boost_limit_id if stored.state is State.APPROVED else "",
    )
