"""The RPCs of admission: parse, ask, render."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Final, TypeAlias, TypeVar

import grpc

from chassis import paging, server
from chassis.errors import NotFound, Overloaded, ServiceError
from headgate.api.admission.v1 import admission_pb2 as pb
from headgate.api.admission.v1 import admission_pb2_grpc
from services.admission import (
    wire,
    wire_explanations,
    wire_outcomes,
    wire_policy,
    wire_records,
    wire_simulation,
)
from services.admission.books import Books
from services.admission.domain.calls import Denied, Held, Operation, Outcome, Reserve
from services.admission.explanations import CandidateExplanation, Explanations
from services.admission.policy import Policy, PolicyCopy
from services.admission.records import Records
from services.admission.reservations import Reservations
from services.admission.simulations import Simulations
from services.admission.watching import watch

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]
Member = TypeVar("Member")

PAGE_SIZE_DEFAULT = 100
# Each looks at the database four times a second.
WATCHER_COUNT_MAX: Final = 200


class AdmissionServicer(admission_pb2_grpc.AdmissionServiceServicer):
    """Serves `AdmissionService`; the contract's comments say what each method promises."""

    def __init__(
        self,
        *,
        reservations: Reservations,
        policy: Policy,
        copy: PolicyCopy,
        books: Books,
        records: Records,
        explanations: Explanations,
        simulations: Simulations,
    ) -> None:
        self._reservations = reservations
        self._policy = policy
        self._copy = copy
        self._books = books
        self._records = records
        self._explanations = explanations
        self._simulations = simulations
        self._watcher_count = 0

    async def Reserve(self, request: pb.ReserveRequest, context: Context) -> pb.ReserveResponse:
        outcomes = await self._decide("reservations", request.reservations, wire.parse_reserve)
        response = pb.ReserveResponse(
            limits_version=max((_version(each) for each in outcomes), default=0)
        )
        for outcome in outcomes:
            wire_outcomes.write_reservation(outcome, response.results.add())
        return response

    async def Settle(self, request: pb.SettleRequest, context: Context) -> pb.SettleResponse:
        outcomes = await self._decide("settlements", request.settlements, wire.parse_settle)
        return pb.SettleResponse(results=[wire_outcomes.render_end(each) for each in outcomes])

    async def Release(self, request: pb.ReleaseRequest, context: Context) -> pb.ReleaseResponse:
        outcomes = await self._decide("calls", request.calls, wire.parse_release)
        return pb.ReleaseResponse(results=[wire_outcomes.render_end(each) for each in outcomes])

    async def Extend(self, request: pb.ExtendRequest, context: Context) -> pb.ExtendResponse:
        outcomes = await self._decide("extensions", request.extensions, wire.parse_extend)
        return pb.ExtendResponse(
            results=[wire_outcomes.render_extension(each) for each in outcomes]
        )

    async def WriteOff(self, request: pb.WriteOffRequest, context: Context) -> pb.WriteOffResponse:
        wire.check_write_off(request)
        parse = partial(wire.parse_write_off, request)
        outcomes = await self._decide("calls", request.calls, parse)
        return pb.WriteOffResponse(results=[wire_outcomes.render_end(each) for each in outcomes])

    async def GetReservations(
        self, request: pb.GetReservationsRequest, context: Context
    ) -> pb.GetReservationsResponse:
        wire.check_batch("calls", len(request.calls))
        parsed = _parse_all("calls", request.calls, wire.parse_call_key)
        keys = [each for each in parsed if not isinstance(each, ServiceError)]
        found = dict(zip(keys, await self._books.find_reservations(keys), strict=True))
        return pb.GetReservationsResponse(
            results=[
                _render_lookup(each if isinstance(each, ServiceError) else found[each], call)
                for each, call in zip(parsed, request.calls, strict=True)
            ]
        )

    async def SetFence(self, request: pb.SetFenceRequest, context: Context) -> pb.SetFenceResponse:
        fence = wire_policy.parse_fence(request)
        in_force = await self._policy.set_fence(fence, actor=request.actor)
        return pb.SetFenceResponse(sequence=in_force.sequence, active=in_force.active)

    async def ListFences(
        self, request: pb.ListFencesRequest, context: Context
    ) -> pb.ListFencesResponse:
        size = paging.page_size(request.page_size, default=PAGE_SIZE_DEFAULT)
        (after,) = paging.decode_token(request.page_token) or ("",)
        fences = await self._books.list_fences(after=str(after), count=size + 1)
        page, rest = fences[:size], fences[size:]
        return pb.ListFencesResponse(
            fences=[wire_outcomes.render_fence(each) for each in page],
            next_page_token=paging.encode_token((page[-1].fence_id,)) if rest else "",
        )

    async def PutLimit(self, request: pb.PutLimitRequest, context: Context) -> pb.PutLimitResponse:
        limit = wire_policy.parse_put_limit(request)
        version = await self._policy.put_limit(
            limit,
            audit_id=request.audit_id,
            expected_version=wire_policy.read_expected(request),
        )
        stored = wire_policy.render_limit(replace(limit, version=version))
        return pb.PutLimitResponse(limit=stored, limits_version=version)

    async def DeleteLimit(
        self, request: pb.DeleteLimitRequest, context: Context
    ) -> pb.DeleteLimitResponse:
        limit_id = wire_policy.parse_delete_limit(request)
        version = await self._policy.delete_limit(
            limit_id,
            audit_id=request.audit_id,
            expected_version=wire_policy.read_expected(request),
        )
        return pb.DeleteLimitResponse(limits_version=version)

    async def ApplyLimits(
        self, request: pb.ApplyLimitsRequest, context: Context
    ) -> pb.ApplyLimitsResponse:
        limits, deleted = wire_policy.parse_apply(request)
        version = await self._policy.apply(
            limits, deleted, audit_id=request.audit_id, keep=not request.validate_only
        )
        return pb.ApplyLimitsResponse(limits_version=version)

    async def ListLimits(
        self, request: pb.ListLimitsRequest, context: Context
    ) -> pb.ListLimitsResponse:
        size = paging.page_size(request.page_size, default=PAGE_SIZE_DEFAULT)
        (after,) = paging.decode_token(request.page_token) or ("",)
        limits = await self._books.list_limits(
            after=str(after), count=size + 1, limit_id=request.limit_id
        )
        page, rest = limits[:size], limits[size:]
        return pb.ListLimitsResponse(
            limits=[wire_policy.render_limit(each) for each in page],
            next_page_token=paging.encode_token((page[-1].limit_id,)) if rest else "",
            invalid_limits=wire_policy.render_invalid(self._copy.invalid_limits),
            limits_version=self._copy.limit_set.version,
        )

    async def ListCounters(
        self, request: pb.ListCountersRequest, context: Context
    ) -> pb.ListCountersResponse:
        size = paging.page_size(request.page_size, default=PAGE_SIZE_DEFAULT)
        org = wire_policy.parse_counters_org(request)
        after = _counter_cursor(paging.decode_token(request.page_token, org=org))
        rows = await self._books.list_counters(org=org, after=after, count=size + 1)
        page, rest = rows[:size], rows[size:]
        return pb.ListCountersResponse(
            counters=[wire_policy.render_counter(each) for each in page],
            next_page_token=_counter_token(page[-1].key, org) if rest else "",
        )

    async def ExplainLimits(
        self, request: pb.ExplainLimitsRequest, context: Context
    ) -> pb.ExplainLimitsResponse:
        wire.check_batch("reservations", len(request.reservations))
        parsed = _parse_all("reservations", request.reservations, wire_explanations.parse_question)
        calls = [each for each in parsed if not isinstance(each, ServiceError)]
        found = iter(await self._explanations.explain(calls))
        return pb.ExplainLimitsResponse(
            explanations=[_render_explanation(each, found) for each in parsed],
            limits_version=self._explanations.limits_version,
        )

    async def WatchLimits(
        self, request: pb.WatchLimitsRequest, context: Context
    ) -> AsyncIterator[pb.WatchLimitsResponse]:
        call = wire_explanations.parse_question(request.reservation, "reservation.")
        if isinstance(call, ServiceError):
            raise call
        with self._watcher():
            async for state in watch(self._explanations, call):
                yield state

    async def SimulateLimits(
        self, request: pb.SimulateLimitsRequest, context: Context
    ) -> AsyncIterator[pb.SimulateLimitsResponse]:
        async for progress in self._simulations.run(wire_simulation.parse_trial(request)):
            yield progress

    async def ListViolations(
        self, request: pb.ListViolationsRequest, context: Context
    ) -> pb.ListViolationsResponse:
        query = wire_records.parse_violations(request)
        found = await self._records.list_violations(query)
        return wire_records.render_violations(query, *found)

    async def ListCrossings(
        self, request: pb.ListCrossingsRequest, context: Context
    ) -> pb.ListCrossingsResponse:
        after, count = wire_records.parse_crossings(request)
        return wire_records.render_crossings(await self._records.list_crossings(after, count))

    @contextmanager
    def _watcher(self) -> Iterator[None]:
        if self._watcher_count >= WATCHER_COUNT_MAX:
            raise Overloaded
        self._watcher_count += 1
        try:
            yield
        finally:
            self._watcher_count -= 1

    async def _decide(
        self,
        field: str,
        members: Sequence[Member],
        parse: Callable[[Member, str], Operation | ServiceError],
    ) -> list[Outcome | BaseException]:
        """Returns each member's outcome in order; a member that is wrong is its own error."""
        wire.check_batch(field, len(members))
        parsed = _parse_all(field, members, parse)
        operations = [each for each in parsed if not isinstance(each, ServiceError)]
        outcomes = iter(
            await self._reservations.submit_all(operations, deadline=server.deadline())
        )
        return [each if isinstance(each, ServiceError) else next(outcomes) for each in parsed]


def _parse_all(
    field: str, members: Sequence[Member], parse: Callable[[Member, str], Any]
) -> list[Any]:
    return [parse(each, f"{field}[{position}].") for position, each in enumerate(members)]


def _version(outcome: Outcome | BaseException) -> int:
    return outcome.limits_version if isinstance(outcome, (Held, Denied)) else 0


def _render_explanation(
    parsed: Reserve | ServiceError, found: Iterator[list[CandidateExplanation]]
) -> pb.CallExplanation:
    if isinstance(parsed, ServiceError):
        return pb.CallExplanation(error=parsed.to_member_error())
    return wire_explanations.render_explanation(next(found))


def _render_lookup(found: Any, call: pb.CallKey) -> pb.ReservationLookup:
    if isinstance(found, ServiceError):
        return pb.ReservationLookup(error=wire_outcomes.render_error(found))
    if found is None:
        return pb.ReservationLookup(
            error=wire_outcomes.render_error(NotFound("call", call.call_id))
        )
    lookup = pb.ReservationLookup(state=pb.ReservationState.ValueType(found.state.value))
    wire_outcomes.write_hold(found, True, lookup.hold)
    return lookup


def _counter_token(key: Any, org: str | None) -> str:
    return paging.encode_token((key.span.start.isoformat(), str(key.counter_id)), org=org)


def _counter_cursor(
    cursor: tuple[paging.Scalar, ...] | None,
) -> tuple[dt.datetime, uuid.UUID] | None:
    if cursor is None:
        return None
    start, counter_id = cursor
    return dt.datetime.fromisoformat(str(start)), uuid.UUID(str(counter_id))
