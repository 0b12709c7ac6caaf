"""What staff do to the books: protobuf to domain with validation, and back."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from chassis.checks import Checks
from headgate.api.accounting.v1 import books_pb2 as pb
from headgate.api.common.v1 import book_pb2
from services.accounting.books.exports import Format
from services.accounting.books.reconciliation import Bill
from services.accounting.domain.bills import BillFormat
from services.accounting.domain.reconciliation import TOLERANCE_DEFAULT, Deviation
from services.accounting.domain.usage import AMOUNT_MAX
from services.accounting.overrides import Override
from services.accounting.wire import NAME_LENGTH_MAX, PROVIDER_LENGTH_MAX
from services.accounting.wire_prices import parse_audit_id, parse_overrides
from services.accounting.wire_usage import check_interval, parse_instant

NOTE_LENGTH_MAX: Final = 1_024
PRICE_COUNT_MAX: Final = 10_000
BILL_BYTES_MAX: Final = 3_000_000
TOLERANCE_MAX: Final = 10_000
_FORMATS: Final = frozenset(Format)
_BILL_FORMATS: Final = frozenset(BillFormat)


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjustment:
    """A credit or debit on one call."""

    org: str
    call_id: uuid.UUID
    delta_nanos: int
    note: str
    audit_id: str


def parse_adjustment(request: pb.AdjustUsageRequest) -> Adjustment:
    """Returns what to correct. Raises InvalidArgument."""
    checks = Checks()
    checks.integer("delta_nanos", request.delta_nanos, minimum=-AMOUNT_MAX, maximum=AMOUNT_MAX)
    if not request.delta_nanos:
        checks.violate("delta_nanos", "required: send what to add, negative for a credit")
    adjustment = Adjustment(
        org=checks.text("org", request.org, max_length=NAME_LENGTH_MAX),
        call_id=checks.uuid("call_id", request.call_id),
        delta_nanos=request.delta_nanos,
        note=checks.text("note", request.note, max_length=NOTE_LENGTH_MAX),
        audit_id=parse_audit_id(checks, request.audit_id),
    )
    checks.raise_if_any()
    return adjustment


def parse_import(request: pb.ImportPricesRequest) -> tuple[list[Override], str]:
    """Returns the overrides, and the audit id. Raises InvalidArgument with every violation."""
    checks = Checks()
    if not 1 <= len(request.prices) <= PRICE_COUNT_MAX:
        checks.violate("prices", f"send 1 to {PRICE_COUNT_MAX} prices")
        checks.raise_if_any()
    overrides = parse_overrides(checks, request.prices)
    checks.distinct((f"prices[{place}]", each.key) for place, each in enumerate(overrides))
    audit_id = parse_audit_id(checks, request.audit_id)
    checks.raise_if_any()
    return overrides, audit_id


def parse_bill(request: pb.ReconcileBillRequest) -> Bill:
    """Returns the bill. Raises InvalidArgument."""
    checks = Checks()
    checks.choice("format", request.format, allowed=_BILL_FORMATS)
    if not 1 <= len(request.content) <= BILL_BYTES_MAX:
        checks.violate("content", f"send 1 to {BILL_BYTES_MAX} bytes")
    tolerance = checks.integer(
        "tolerance_basis_points", request.tolerance_basis_points, minimum=0, maximum=TOLERANCE_MAX
    )
    provider = checks.text("provider", request.provider, max_length=PROVIDER_LENGTH_MAX)
    org = optional(checks, "org", request.org)
    parse_audit_id(checks, request.audit_id)
    checks.raise_if_any()
    return Bill(
        provider=provider,
        content=request.content,
        kind=BillFormat(request.format),
        org=org,
        tolerance=tolerance or TOLERANCE_DEFAULT,
    )


def render_comparison(
    deviations: Sequence[Deviation], total: Deviation
) -> pb.ReconcileBillResponse:
    """Renders the comparison."""
    return pb.ReconcileBillResponse(
        deviations=map(_render_deviation, deviations), total=_render_deviation(total)
    )


def parse_export(
    request: pb.ExportUsageRequest,
) -> tuple[Format, dt.datetime, dt.datetime, str]:
    """Returns the format, the interval and the org. Raises InvalidArgument."""
    checks = Checks()
    checks.choice("format", request.format, allowed=_FORMATS)
    start, end = parse_span(checks, request.start_time, request.end_time)
    org = optional(checks, "org", request.org)
    checks.raise_if_any()
    return Format(request.format), start, end, org


def parse_span(
    checks: Checks, start_time: Timestamp, end_time: Timestamp, *, day_count_max: int | None = None
) -> tuple[dt.datetime, dt.datetime]:
    """Returns the first instant and the one after the last."""
    found = len(checks.violations)
    start = parse_instant(checks, "start_time", start_time)
    end = parse_instant(checks, "end_time", end_time)
    if len(checks.violations) == found:
        check_interval(checks, start, end, ("end_time", "start_time"))
    if day_count_max is not None and end - start > dt.timedelta(days=day_count_max):
        checks.violate("end_time", f"must be at most {day_count_max} days after start_time")
    return start, end


def optional(checks: Checks, field: str, value: str, max_length: int = NAME_LENGTH_MAX) -> str:
    """Returns a text that may be empty, which leaves nothing out."""
    return checks.text(field, value, min_length=0, max_length=max_length)


def _render_deviation(deviation: Deviation) -> book_pb2.Deviation:
    day, model = deviation.place or (None, "")
    return book_pb2.Deviation(
        day=day.isoformat() if day else "",
        model=model,
        billed_nanos=deviation.billed_nanos,
        booked_nanos=deviation.booked_nanos,
        difference_nanos=deviation.difference_nanos,
        difference_basis_points=deviation.basis_points,
        unreported_nanos=deviation.unreported_nanos,
        exceeds=deviation.exceeds,
    )
