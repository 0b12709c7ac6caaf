"""Settlement feed and sums of usage: protobuf to domain with validation, and back."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from typing import Final

from chassis.checks import Checks
from chassis.errors import FieldViolation, InvalidArgument
from chassis.paging import page_size
from headgate.api.accounting.v1 import accounting_pb2 as pb
from headgate.api.common.v1 import call_pb2, usage_pb2
from services.accounting.domain.meters import METER_FIELDS
from services.accounting.domain.summaries import Dimension, Source, UsageQuery, UsageSums
from services.accounting.domain.usage import FEED_START, FeedPosition, Settlement
from services.accounting.wire import INT64_MAX, NAME_LENGTH_MAX

FEED_PAGE_DEFAULT: Final = 500
FEED_PAGE_MAX: Final = 1_000
USAGE_DAY_COUNT_MAX: Final = 366
USAGE_ROW_COUNT_MAX: Final = 10_000

_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_NO_DAY: Final = dt.date(1970, 1, 1)
_DIMENSIONS: Final = frozenset(Dimension)
_SOURCES: Final = frozenset(Source)


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
            token_count=settlement.token_count,
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
    response = pb.GetUsageResponse(source=usage_pb2.UsageSource.ValueType(query.source.value))
    for row in rows:
        if max(row.cost_nanos, *(count or 0 for count in row.meters)) > INT64_MAX:
            description = "a sum is too large for the answer; ask for fewer days"
            raise InvalidArgument([FieldViolation("end_day", description)])
        response.rows.append(_render_sums(row))
    return response


def _parse_day(checks: Checks, field: str, value: str) -> dt.date:
    try:
        if _DAY.fullmatch(value):
            return dt.date.fromisoformat(value)
    except ValueError:
        pass
    checks.violate(field, "send a day such as 2026-01-31")
    return _NO_DAY


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
