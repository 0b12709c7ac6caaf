"""Reports and bookings: protobuf to domain with validation, and back."""

from __future__ import annotations

import datetime as dt
import re
import uuid
from collections.abc import Iterator, Sequence
from typing import Final

from chassis.checks import Checks
from chassis.errors import (
    AlreadyExists,
    FailedPrecondition,
    FieldViolation,
    InvalidArgument,
    ServiceError,
    translate,
)
from headgate.api.accounting.v1 import accounting_pb2 as pb
from headgate.api.common.v1 import call_pb2, limit_pb2
from services.accounting.domain.meters import METER_FIELDS, UNIT_COUNT_MAX, MeterCounts
from services.accounting.domain.pricing import AmountTooLargeError
from services.accounting.domain.usage import AMOUNT_MAX, HORIZON, Booking, Outcome, Refusal, Report
from services.accounting.ledger import Answer

REPORT_COUNT_MAX: Final = 256
NAME_LENGTH_MAX: Final = 128
PROVIDER_LENGTH_MAX: Final = 64
KEY_LENGTH_MAX: Final = 64
LABEL_COUNT_MAX: Final = 8
LABEL_KEY_LENGTH_MAX: Final = 64
LABEL_VALUE_LENGTH_MAX: Final = 128
ERROR_TYPE_LENGTH_MAX: Final = 64
SERVICE_TIER: Final = re.compile(r"[a-z0-9][a-z0-9_-]*")
SERVICE_TIER_LENGTH_MAX: Final = 32
# What admission can hold; far above what a call moves.
HELD_TOKEN_COUNT_MAX: Final = 10**12
# No call lasts longer than a week.
LATENCY_MAX: Final = dt.timedelta(days=7)
INT64_MAX: Final = 2**63 - 1

_METER_PLACES: Final = {field: place for place, field in enumerate(METER_FIELDS)}
_OUTCOMES: Final = frozenset(Outcome)
_PRIORITIES: Final = frozenset(limit_pb2.Priority.values())
_NO_TIME: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
# Last second of the year 9999.
_SECONDS_MAX: Final = 253_402_300_799
_NANOS_MAX: Final = 999_999_999


def parse_reports(request: pb.RecordRequest) -> list[Report | InvalidArgument]:
    """Returns each member's report, or what is wrong with that member alone."""
    if not 1 <= len(request.reports) <= REPORT_COUNT_MAX:
        violation = FieldViolation("reports", f"send 1 to {REPORT_COUNT_MAX} reports")
        raise InvalidArgument([violation])
    members: list[Report | InvalidArgument] = []
    for place, message in enumerate(request.reports):
        try:
            members.append(_parse_report(message, Checks(f"reports[{place}].")))
        except InvalidArgument as error:
            members.append(error)
    return members


def render_record(
    members: Sequence[Report | InvalidArgument], answers: Sequence[Answer]
) -> pb.RecordResponse:
    """Renders one result for each member. `answers` are those of the valid members, in order.

    If the database failed all of them, raises that error: the RPC as a whole is worth a retry.
    """
    response = pb.RecordResponse()
    remaining: Iterator[Answer] = iter(answers)
    failures: list[ServiceError] = []
    for place, member in enumerate(members):
        answer = member if isinstance(member, InvalidArgument) else next(remaining)
        if isinstance(answer, Booking):
            booking = response.results.add().booking
            booking.total_nanos = answer.total_nanos
            booking.cost_basis = call_pb2.CostBasis.ValueType(answer.basis.value)
            booking.revision = answer.revision
            booking.first = answer.first
            if answer.token_count is not None:
                booking.token_count = answer.token_count
            continue
        if isinstance(member, InvalidArgument) or isinstance(
            answer, Refusal | AmountTooLargeError
        ):
            error = _explain(member, answer, place)
        else:
            error = translate(answer)
            failures.append(error)
        response.results.add(error=error.to_member_error())
    if len(failures) == len(members):
        raise failures[0]
    return response


def expect_booking(report: Report, answer: Answer) -> Booking:
    """Returns the booking of a report that came alone; raises why there is none."""
    if isinstance(answer, Booking):
        return answer
    if isinstance(answer, Refusal | AmountTooLargeError):
        raise _explain(report, answer, 0)
    raise translate(answer)


def _parse_report(message: pb.UsageReport, checks: Checks) -> Report:
    text = checks.text
    report = Report(
        org=text("org", message.org, max_length=NAME_LENGTH_MAX),
        call_id=checks.uuid("call_id", message.call_id),
        parent_call_id=_parse_parent(checks, message.parent_call_id),
        operation=text("operation", message.operation, max_length=NAME_LENGTH_MAX),
        provider=text(
            "candidate.provider", message.candidate.provider, max_length=PROVIDER_LENGTH_MAX
        ),
        model=text("candidate.model", message.candidate.model, max_length=NAME_LENGTH_MAX),
        admit_time=_parse_admit_time(checks, message),
        price_version=checks.integer(
            "price_version", message.price_version, minimum=1, maximum=INT64_MAX
        ),
        held_nanos=checks.integer("held_nanos", message.held_nanos, minimum=0, maximum=AMOUNT_MAX),
        api_key_id=text("api_key_id", message.api_key_id, min_length=0, max_length=KEY_LENGTH_MAX),
        labels=_parse_labels(checks, message),
        outcome=_parse_outcome(checks, message.outcome),
        meters=parse_meters(checks, message.meters),
        latency_ms=_parse_latency(checks, message),
        error_type=text(
            "error_type", message.error_type, min_length=0, max_length=ERROR_TYPE_LENGTH_MAX
        ),
        service_tier=text(
            "service_tier",
            message.service_tier,
            min_length=0,
            max_length=SERVICE_TIER_LENGTH_MAX,
            pattern=SERVICE_TIER,
        ),
        held_token_count=_parse_held_tokens(checks, message),
        team=text("team", message.team, min_length=0, max_length=NAME_LENGTH_MAX),
        user=text("user", message.user, min_length=0, max_length=NAME_LENGTH_MAX),
        session=text("session", message.session, min_length=0, max_length=NAME_LENGTH_MAX),
        feature=text("feature", message.feature, min_length=0, max_length=NAME_LENGTH_MAX),
        priority=_parse_priority(checks, message.priority),
        approved=message.approved,
        unanswered=message.unanswered,
        baseline=_parse_baseline(checks, message),
        saved_nanos=checks.integer(
            "saved_nanos", message.saved_nanos, minimum=0, maximum=AMOUNT_MAX
        )
        if message.HasField("saved_nanos")
        else None,
    )
    checks.raise_if_any()
    return report


def _parse_parent(checks: Checks, value: str) -> uuid.UUID | None:
    return checks.uuid("parent_call_id", value) if value else None


def _parse_outcome(checks: Checks, value: int) -> Outcome:
    known = checks.choice("outcome", value, allowed=_OUTCOMES)
    return Outcome(known) if known in _OUTCOMES else Outcome.SUCCEEDED


def _parse_baseline(checks: Checks, message: pb.UsageReport) -> tuple[str, str] | None:
    if not message.HasField("baseline_model"):
        return None
    provider, model = message.baseline_model.provider, message.baseline_model.model
    return (
        checks.text("baseline_model.provider", provider, max_length=PROVIDER_LENGTH_MAX),
        checks.text("baseline_model.model", model, max_length=NAME_LENGTH_MAX),
    )


def _parse_priority(checks: Checks, value: int) -> int:
    return checks.choice("priority", value, allowed=_PRIORITIES) if value else 0


def _parse_held_tokens(checks: Checks, message: pb.UsageReport) -> int | None:
    if not message.HasField("held_token_count"):
        return None
    return checks.integer(
        "held_token_count", message.held_token_count, minimum=0, maximum=HELD_TOKEN_COUNT_MAX
    )


def _parse_admit_time(checks: Checks, message: pb.UsageReport) -> dt.datetime:
    if not message.HasField("admit_time"):
        checks.violate("admit_time", "required: when the call was admitted")
        return _NO_TIME
    seconds, nanos = message.admit_time.seconds, message.admit_time.nanos
    if not (0 <= seconds <= _SECONDS_MAX and 0 <= nanos <= _NANOS_MAX):
        checks.violate("admit_time", "send the time of admission as it stood in the permit")
        return _NO_TIME
    # Databases keep microseconds; what is finer was never part of the admission.
    return _NO_TIME + dt.timedelta(seconds=seconds, microseconds=nanos // 1_000)


def _parse_labels(checks: Checks, message: pb.UsageReport) -> dict[str, str]:
    if len(message.labels) > LABEL_COUNT_MAX:
        checks.violate("labels", f"at most {LABEL_COUNT_MAX} are allowed")
        return {}
    for key, value in message.labels.items():
        checks.text("labels", key, max_length=LABEL_KEY_LENGTH_MAX)
        checks.text(f'labels["{key}"]', value, max_length=LABEL_VALUE_LENGTH_MAX)
    return dict(message.labels)


def parse_meters(checks: Checks, message: call_pb2.UsageMeters) -> MeterCounts:
    """Returns the units of each meter; unset ones are missing, not zero."""
    counts: list[int | None] = [None] * len(METER_FIELDS)
    for descriptor, count in message.ListFields():
        field = descriptor.name
        counts[_METER_PLACES[field]] = checks.integer(
            f"meters.{field}", count, minimum=0, maximum=UNIT_COUNT_MAX
        )
    return MeterCounts(*counts)


def _parse_latency(checks: Checks, message: pb.UsageReport) -> int | None:
    if not message.HasField("latency"):
        return None
    seconds, nanos = message.latency.seconds, message.latency.nanos
    if not (0 <= seconds < LATENCY_MAX.total_seconds() and 0 <= nanos <= _NANOS_MAX):
        checks.violate("latency", f"must be from 0 to {LATENCY_MAX.days} days")
        return None
    return seconds * 1_000 + nanos // 1_000_000


def _explain(member: Report | InvalidArgument, answer: Answer, place: int) -> ServiceError:
    if isinstance(member, InvalidArgument):
        return member
    match answer:
        case AmountTooLargeError():
            field = f"meters.{METER_FIELDS[answer.meter - 1]}"
            return _violation(
                place, field, f"the call costs more than {AMOUNT_MAX} nano-US-dollars"
            )
        case Refusal.ID_REUSED:
            call_id = str(member.call_id)
            return AlreadyExists(f"call {call_id} is booked with another report", call_id=call_id)
        case Refusal.TOO_LATE:
            days = str(HORIZON.days)
            message = f"the call was admitted more than {days} days ago; it was not booked"
            return FailedPrecondition(message, "TOO_LATE", horizon_days=days)
        case Refusal.IN_FUTURE:
            return _violation(place, "admit_time", "lies in the future; send the admission's time")
        case _:
            return _violation(place, "", "the database refused a value of this report")


def _violation(place: int, field: str, description: str) -> InvalidArgument:
    path = f"reports[{place}].{field}" if field else f"reports[{place}]"
    return InvalidArgument([FieldViolation(path, description)])
