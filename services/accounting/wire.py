"""Reports, feed and sums: protobuf to domain with validation, and back."""

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
from chassis.paging import page_size
from headgate.api.accounting.v1 import accounting_pb2 as pb
from headgate.api.common.v1 import call_pb2, usage_pb2
from services.accounting.domain.pricing import AmountTooLargeError
from services.accounting.domain.usage import (
    AMOUNT_MAX,
    FEED_START,
    TOKEN_COUNT_MAX,
    Booking,
    Dimension,
    FeedPosition,
    MeterCounts,
    Outcome,
    Refusal,
    Report,
    Settlement,
    Source,
    UsageQuery,
    UsageSums,
)
from services.accounting.ledger import Answer

REPORT_COUNT_MAX: Final = 256
NAME_LENGTH_MAX: Final = 128
PROVIDER_LENGTH_MAX: Final = 64
KEY_LENGTH_MAX: Final = 64
LABEL_COUNT_MAX: Final = 8
LABEL_KEY_LENGTH_MAX: Final = 64
LABEL_VALUE_LENGTH_MAX: Final = 128
ERROR_TYPE_LENGTH_MAX: Final = 64
# No call lasts longer than a week.
LATENCY_MAX: Final = dt.timedelta(days=7)
FEED_PAGE_DEFAULT: Final = 500
FEED_PAGE_MAX: Final = 1_000
USAGE_DAY_COUNT_MAX: Final = 366
USAGE_ROW_COUNT_MAX: Final = 10_000
INT64_MAX: Final = 2**63 - 1

# Fields of UsageMeters, in the order of the domain's meters.
METER_FIELDS: Final = (
    "input_token_count",
    "cache_read_token_count",
    "cache_write_5m_token_count",
    "cache_write_1h_token_count",
    "output_token_count",
    "reasoning_token_count",
)
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_OUTCOMES: Final = frozenset(Outcome)
_DIMENSIONS: Final = frozenset(Dimension)
_SOURCES: Final = frozenset(Source)
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
    members: Sequence[Report | InvalidArgument], answers: Sequence[Answer], horizon: dt.timedelta
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
            booking.cost_basis = answer.basis.value
            booking.revision = answer.revision
            booking.first = answer.first
            continue
        if isinstance(member, InvalidArgument) or isinstance(
            answer, Refusal | AmountTooLargeError
        ):
            error = _explain(member, answer, place, horizon)
        else:
            error = translate(answer)
            failures.append(error)
        render_error(error, response.results.add().error)
    if len(failures) == len(members):
        raise failures[0]
    return response


def render_error(error: ServiceError, message: call_pb2.CallError) -> None:
    """Fills in one member's error: what a status of its own would carry."""
    message.code = error.code.value[0]
    message.reason = error.reason
    message.message = error.message
    message.metadata.update(error.metadata)
    for violation in error.violations:
        message.violations.add(field=violation.field, description=violation.description)


def parse_feed(request: pb.ListSettlementsRequest) -> tuple[FeedPosition, int]:
    """Returns the position to read after and the greatest count of rows."""
    limit = page_size(request.page_size, default=FEED_PAGE_DEFAULT, maximum=FEED_PAGE_MAX)
    if not request.HasField("after"):
        return FEED_START, limit
    checks = Checks("after.")
    position = FeedPosition(
        checks.integer(
            "transaction_id", request.after.transaction_id, minimum=0, maximum=INT64_MAX
        ),
        checks.integer("row_id", request.after.row_id, minimum=0, maximum=INT64_MAX),
    )
    checks.raise_if_any()
    return position, limit


def render_feed(settlements: Sequence[Settlement]) -> pb.ListSettlementsResponse:
    """Renders a page of the feed."""
    response = pb.ListSettlementsResponse()
    for settlement in settlements:
        response.settlements.add(
            org=settlement.org,
            call_id=str(settlement.call_id),
            revision=settlement.revision,
            total_nanos=settlement.total_nanos,
        )
    if settlements:
        response.next.transaction_id, response.next.row_id = settlements[-1].position
    return response


def parse_usage_query(request: pb.GetUsageRequest) -> UsageQuery:
    """Returns the query. Raises InvalidArgument."""
    checks = Checks()
    start_day = _parse_day(checks, "start_day", request.start_day)
    end_day = _parse_day(checks, "end_day", request.end_day)
    if not checks.violations and end_day < start_day:
        checks.violate("end_day", "must not be before start_day")
    elif not checks.violations and (end_day - start_day).days > USAGE_DAY_COUNT_MAX:
        checks.violate("end_day", f"must be at most {USAGE_DAY_COUNT_MAX} days after start_day")
    org = checks.text("org", request.org, min_length=0, max_length=NAME_LENGTH_MAX)
    for place, dimension in enumerate(request.group_by):
        checks.choice(f"group_by[{place}]", dimension, allowed=_DIMENSIONS)
    if request.source:
        checks.choice("source", request.source, allowed=_SOURCES)
    checks.raise_if_any()
    return UsageQuery(
        start_day=start_day,
        end_day=end_day,
        org=org,
        group_by=frozenset(Dimension(dimension) for dimension in request.group_by),
        source=Source(request.source or Source.ROLLUP),
    )


def render_usage(query: UsageQuery, rows: Sequence[UsageSums]) -> pb.GetUsageResponse:
    """Renders the sums. Raises InvalidArgument if there are too many, or one is too large."""
    if len(rows) > USAGE_ROW_COUNT_MAX:
        description = (
            f"gives more than {USAGE_ROW_COUNT_MAX} rows; ask for fewer dimensions or days"
        )
        raise InvalidArgument([FieldViolation("group_by", description)])
    response = pb.GetUsageResponse(source=query.source.value)
    for row in rows:
        if max(row.cost_nanos, *row.meters) > INT64_MAX:
            description = "a sum is too large for the answer; ask for fewer days"
            raise InvalidArgument([FieldViolation("end_day", description)])
        response.rows.append(_render_sums(row))
    return response


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
        meters=_parse_meters(checks, message.meters),
        latency_ms=_parse_latency(checks, message),
        error_type=text(
            "error_type", message.error_type, min_length=0, max_length=ERROR_TYPE_LENGTH_MAX
        ),
    )
    checks.raise_if_any()
    return report


def _parse_parent(checks: Checks, value: str) -> uuid.UUID | None:
    return checks.uuid("parent_call_id", value) if value else None


def _parse_outcome(checks: Checks, value: int) -> Outcome:
    known = checks.choice("outcome", value, allowed=_OUTCOMES)
    return Outcome(known) if known in _OUTCOMES else Outcome.SUCCEEDED


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


def _parse_meters(checks: Checks, message: call_pb2.UsageMeters) -> MeterCounts:
    counts: list[int | None] = []
    for field in METER_FIELDS:
        if not message.HasField(field):  # type: ignore[arg-type]  # the names are the contract's
            counts.append(None)
            continue
        count: int = getattr(message, field)
        counts.append(checks.integer(f"meters.{field}", count, minimum=0, maximum=TOKEN_COUNT_MAX))
    return MeterCounts(*counts)


def _parse_latency(checks: Checks, message: pb.UsageReport) -> int | None:
    if not message.HasField("latency"):
        return None
    seconds, nanos = message.latency.seconds, message.latency.nanos
    if not (0 <= seconds < LATENCY_MAX.total_seconds() and 0 <= nanos <= _NANOS_MAX):
        checks.violate("latency", f"must be from 0 to {LATENCY_MAX.days} days")
        return None
    return seconds * 1_000 + nanos // 1_000_000


def _parse_day(checks: Checks, field: str, value: str) -> dt.date:
    try:
        if _DAY.fullmatch(value):
            return dt.date.fromisoformat(value)
    except ValueError:
        pass
    checks.violate(field, "send a day such as 2026-01-31")
    return _NO_TIME.date()


def _explain(
    member: Report | InvalidArgument, answer: Answer, place: int, horizon: dt.timedelta
) -> ServiceError:
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
            days = str(horizon.days)
            message = f"the call was admitted more than {days} days ago; it was not booked"
            return FailedPrecondition(message, "TOO_LATE", horizon_days=days)
        case Refusal.IN_FUTURE:
            return _violation(place, "admit_time", "lies in the future; send the admission's time")
        case _:
            return _violation(place, "", "the database refused a value of this report")


def _violation(place: int, field: str, description: str) -> InvalidArgument:
    path = f"reports[{place}].{field}" if field else f"reports[{place}]"
    return InvalidArgument([FieldViolation(path, description)])


def _render_sums(row: UsageSums) -> usage_pb2.UsageRow:
    return usage_pb2.UsageRow(
        day=row.day.isoformat() if row.day else "",
        org=row.org,
        operation=row.operation,
        provider=row.provider,
        model=row.model,
        call_count=row.call_count,
        failed_count=row.failed_count,
        unreported_count=row.unreported_count,
        cost_nanos=row.cost_nanos,
        unreported_cost_nanos=row.unreported_cost_nanos,
        meters=call_pb2.UsageMeters(**dict(zip(METER_FIELDS, row.meters, strict=True))),
    )
