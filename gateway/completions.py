"""Ends calls: books what they used, then settles the hold and tells health; or releases them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from opentelemetry.metrics import Meter

from chassis.errors import Internal, NotFound, ServiceError
from gateway.decisions import CallName, Finished, Receipt, ReceiptOrError, Report
from gateway.observations import Observations
from gateway.peer_errors import read_call_error
from gateway.peers import Accounting, Admission
from headgate.api.accounting.v1 import accounting_pb2
from headgate.api.admission.v1 import admission_pb2
from headgate.api.common.v1 import call_pb2
from headgate.api.gateway.v1 import permit_pb2
from headgate.api.health.v1 import health_pb2

log = structlog.get_logger()


# Not frozen: made for every call.
@dataclass(slots=True, kw_only=True)
class _Told:
    """What health is told of a call besides its usage."""

    breaker_epoch: int
    credential: str
    # How long the provider asked to be left alone. None: it did not.
    retry_delay: Duration | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Booked:
    """A report that accounting booked, with what the later steps need of it."""

    usage: accounting_pb2.UsageReport
    told: _Told
    booking: accounting_pb2.Booking


class Completions:
    """Books calls that ended. What it acknowledges is in the usage log.

    Settling and telling health follow only the first booking. A settlement that fails is not the
    caller's failure: admission reads every booking from accounting's feed.
    """

    def __init__(
        self,
        *,
        admission: Admission,
        accounting: Accounting,
        observations: Observations,
        meter: Meter,
    ) -> None:
        self._admission = admission
        self._accounting = accounting
        self._observations = observations
        self._unsettled = meter.create_counter(
            "headgate.gateway.settlements.deferred",
            unit="{call}",
            description="Booked calls whose hold is left to admission's feed.",
        )

    async def complete(self, report: Report, *, deadline: float | None) -> Receipt:
        """Books one call. Raises ServiceError; then nothing is known to be booked."""
        (result,) = await self.complete_all([report], deadline=deadline)
        if isinstance(result, ServiceError):
            raise result
        return result

    async def complete_all(
        self, reports: Sequence[Report | ServiceError], *, deadline: float | None
    ) -> list[ReceiptOrError]:
        """Books many calls, each by itself; wrong members stay errors."""
        usages = await self._describe_all(reports, deadline)
        sent = [each for each in usages if not isinstance(each, ServiceError)]
        answers = iter(
            await self._accounting.record.submit_all(
                [usage for usage, _ in sent], deadline=deadline
            )
        )
        booked = [
            each if isinstance(each, ServiceError) else _read_booking(*each, next(answers))
            for each in usages
        ]
        await self._follow_up(
            [each for each in booked if isinstance(each, _Booked) and each.booking.first], deadline
        )
        return [
            each
            if isinstance(each, ServiceError)
            else Receipt(call_id=each.usage.call_id, booking=each.booking)
            for each in booked
        ]

    async def release(self, name: CallName, *, deadline: float | None) -> Finished:
        """Returns the hold of a call that never left; an unknown id is remembered."""
        key = admission_pb2.CallKey(org=name.org, call_id=name.call_id)
        result = await self._admission.release.submit(key, deadline=deadline)
        if result.WhichOneof("result") == "error":
            raise read_call_error(result.error)
        if name.permit is not None and _is_released(result.ended):
            # A call that never left says nothing of the provider, but it may hold a probe.
            self._observations.put(_observe(name.permit, call_pb2.CALL_OUTCOME_ABORTED))
        return Finished(call_id=name.call_id, ended=result.ended)

    async def _describe_all(
        self, reports: Sequence[Report | ServiceError], deadline: float | None
    ) -> list[tuple[accounting_pb2.UsageReport, _Told] | ServiceError]:
        lost = [
            admission_pb2.CallKey(org=report.name.org, call_id=report.name.call_id)
            for report in reports
            if not isinstance(report, ServiceError) and report.name.permit is None
        ]
        found = iter(
            await self._admission.look_up.submit_all(lost, deadline=deadline) if lost else ()
        )
        described: list[tuple[accounting_pb2.UsageReport, _Told] | ServiceError] = []
        for report in reports:
            if isinstance(report, ServiceError):
                described.append(report)
            elif report.name.permit is not None:
                described.append(_describe_by_permit(report, report.name.permit))
            else:
                described.append(_describe_by_lookup(report, next(found)))
        return described

    async def _follow_up(self, booked: Sequence[_Booked], deadline: float | None) -> None:
        if not booked:
            return
        for each in booked:
            self._observations.put(_observe_usage(each.usage, each.told))
        settlements = [
            admission_pb2.Settlement(
                org=each.usage.org,
                call_id=each.usage.call_id,
                revision=each.booking.revision,
                total_nanos=each.booking.total_nanos,
                token_count=_token_count(each.booking),
            )
            for each in booked
        ]
        try:
            results = await self._admission.settle.submit_all(settlements, deadline=deadline)
        except ServiceError as error:
            self._defer(len(settlements), error.reason)
            return
        for result in results:
            if isinstance(result, ServiceError):
                self._defer(1, result.reason)
            elif result.WhichOneof("result") == "error":
                self._defer(1, result.error.reason)

    def _defer(self, count: int, reason: str) -> None:
        self._unsettled.add(count, {"reason": reason})
        log.debug("settlement_deferred", count=count, reason=reason)


def _token_count(booking: accounting_pb2.Booking) -> int | None:
    """Returns the tokens booked; None if nobody knows them, and they are charged as held."""
    return booking.token_count if booking.HasField("token_count") else None


def _is_released(ended: admission_pb2.Ended) -> bool:
    return ended.state == admission_pb2.RESERVATION_STATE_RELEASED


def _describe_by_permit(
    report: Report, permit: permit_pb2.Permit
) -> tuple[accounting_pb2.UsageReport, _Told]:
    usage = accounting_pb2.UsageReport(
        org=permit.org,
        call_id=permit.call_id,
        parent_call_id=permit.parent_call_id,
        operation=permit.operation,
        candidate=permit.candidate,
        price_version=permit.price_version,
        held_nanos=permit.held_nanos,
        held_token_count=permit.held_token_count,
        team=permit.team,
        user=permit.user,
        session=permit.session,
        feature=permit.feature,
        priority=permit.priority,
        api_key_id=permit.api_key_id,
        labels=permit.labels,
        approved=permit.approved,
    )
    usage.admit_time.FromMicroseconds(permit.admit_time_micros)
    if permit.HasField("baseline_model"):
        usage.baseline_model.CopyFrom(permit.baseline_model)
    credential = permit.credential or permit.org
    return _add_report(usage, report), _tell(report, permit.breaker_epoch, credential)


def _describe_by_lookup(
    report: Report, found: admission_pb2.ReservationLookup | ServiceError
) -> tuple[accounting_pb2.UsageReport, _Told] | ServiceError:
    if isinstance(found, ServiceError):
        return found
    if found.WhichOneof("result") != "hold":
        if found.error.reason in ("", "CALL_NOT_FOUND"):
            return NotFound("call", report.name.call_id)
        return read_call_error(found.error)
    hold = found.hold
    usage = accounting_pb2.UsageReport(
        org=report.name.org,
        call_id=report.name.call_id,
        operation=hold.operation,
        candidate=hold.candidate,
        admit_time=Timestamp(
            seconds=hold.admit_time.seconds,
            # Microseconds, as in a permit: the two ways must name one instant.
            nanos=hold.admit_time.nanos // 1_000 * 1_000,
        ),
        price_version=hold.price_version,
        held_nanos=hold.held_nanos,
        held_token_count=hold.held_token_count,
    )
    return _add_report(usage, report), _tell(report, hold.breaker_epoch, report.name.org)


def _tell(report: Report, breaker_epoch: int, credential: str) -> _Told:
    message = report.message
    asked = message.retry_delay if message.HasField("retry_delay") else None
    return _Told(breaker_epoch=breaker_epoch, credential=credential, retry_delay=asked)


def _add_report(usage: accounting_pb2.UsageReport, report: Report) -> accounting_pb2.UsageReport:
    message = report.message
    usage.outcome = report.outcome
    usage.error_type = message.error_type
    usage.service_tier = message.service_tier
    usage.approved = message.approved or usage.approved
    usage.unanswered = message.unanswered
    if message.HasField("meters"):
        usage.meters.CopyFrom(message.meters)
    if message.HasField("latency"):
        usage.latency.CopyFrom(message.latency)
    return usage


def _read_booking(
    usage: accounting_pb2.UsageReport,
    told: _Told,
    answer: accounting_pb2.RecordResult | ServiceError,
) -> _Booked | ServiceError:
    if isinstance(answer, ServiceError):
        return answer
    match answer.WhichOneof("result"):
        case "booking":
            return _Booked(usage=usage, told=told, booking=answer.booking)
        case "error":
            return read_call_error(answer.error)
        case _:
            return Internal()


def _observe(
    permit: permit_pb2.Permit, outcome: call_pb2.CallOutcome.ValueType
) -> health_pb2.Observation:
    return health_pb2.Observation(
        provider=permit.candidate.provider,
        model=permit.candidate.model,
        credential=permit.credential or permit.org,
        breaker_epoch=permit.breaker_epoch,
        outcome=outcome,
        org=permit.org,
        call_id=permit.call_id,
    )


def _observe_usage(usage: accounting_pb2.UsageReport, told: _Told) -> health_pb2.Observation:
    return health_pb2.Observation(
        provider=usage.candidate.provider,
        model=usage.candidate.model,
        credential=told.credential,
        breaker_epoch=told.breaker_epoch,
        outcome=usage.outcome,
        error_type=usage.error_type,
        latency=usage.latency if usage.HasField("latency") else None,
        retry_delay=told.retry_delay,
        org=usage.org,
        call_id=usage.call_id,
    )
