"""Usage that staff book by hand: protobuf to domain with validation."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from chassis.checks import Checks
from chassis.errors import FieldViolation, InvalidArgument
from headgate.api.accounting.v1 import accounting_pb2, books_pb2
from headgate.api.common.v1 import call_pb2
from services.accounting.books.wire import NOTE_LENGTH_MAX
from services.accounting.domain.usage import AMOUNT_MAX, Booking, Report
from services.accounting.ledger import Answer
from services.accounting.wire import expect_booking, parse_reports
from services.accounting.wire_prices import parse_audit_id


def parse_manual(
    request: books_pb2.RecordManualUsageRequest, *, price_version: int
) -> tuple[Report, int | None, str, str]:
    """Returns the report, what it cost if that was said, the note and the audit id.

    What was said stands in the report's hold too, so that another amount is another report.
    """
    usage = request.usage
    checks = Checks()
    note = checks.text("usage.note", usage.note, max_length=NOTE_LENGTH_MAX)
    audit_id = parse_audit_id(checks, request.audit_id)
    stated: int | None = None
    if usage.HasField("total_nanos"):
        stated = checks.integer(
            "usage.total_nanos", usage.total_nanos, minimum=0, maximum=AMOUNT_MAX
        )
    elif not usage.meters.ListFields():
        checks.violate("usage.meters", "required: say what was used, or total_nanos")
    report = _parse_report(request, checks, held_nanos=stated or 0, price_version=price_version)
    checks.raise_if_any()
    return report, stated, note, audit_id


def expect_manual(report: Report, answer: Answer) -> Booking:
    """Returns the booking; raises why there is none, in the words of the request."""
    try:
        return expect_booking(report, answer)
    except InvalidArgument as error:
        raise InvalidArgument(_rename(error)) from None


def _parse_report(
    request: books_pb2.RecordManualUsageRequest,
    checks: Checks,
    *,
    held_nanos: int,
    price_version: int,
) -> Report:
    usage = request.usage
    message = accounting_pb2.UsageReport(
        org=usage.org,
        call_id=usage.call_id,
        operation=usage.operation,
        candidate=usage.candidate,
        admit_time=usage.use_time if usage.HasField("use_time") else Timestamp(seconds=-1),
        price_version=price_version,
        held_nanos=held_nanos,
        labels=usage.labels,
        outcome=call_pb2.CALL_OUTCOME_SUCCEEDED,
        meters=usage.meters,
        team=usage.team,
        user=usage.user,
    )
    (member,) = parse_reports(accounting_pb2.RecordRequest(reports=[message]))
    if isinstance(member, InvalidArgument):
        raise InvalidArgument([*checks.violations, *_rename(member)])
    return member


def _rename(error: InvalidArgument) -> list[FieldViolation]:
    renamed = {"admit_time": "use_time"}
    return [
        FieldViolation(f"usage.{renamed.get(name, name)}", each.description)
        for each in error.violations
        for name in (each.field.removeprefix("reports[0]."),)
    ]
