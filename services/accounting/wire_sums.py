"""Sums of usage: domain to protobuf."""

from __future__ import annotations

from typing import Final

from chassis.errors import FieldViolation, InvalidArgument
from headgate.api.accounting.v1 import accounting_pb2 as pb
from headgate.api.common.v1 import call_pb2, usage_pb2
from services.accounting.domain.latency import decode_histogram, percentile_ms
from services.accounting.domain.meters import INPUT_TOKENS, METER_FIELDS
from services.accounting.domain.summaries import Dimension, UsageQuery, UsageSums
from services.accounting.summaries import Page
from services.accounting.wire import INT64_MAX
from services.accounting.wire_usage import USAGE_ROW_COUNT_MAX, UsageQuestion, next_token

_VALUE_FIELDS: Final = {
    Dimension.API_KEY: "api_key_id",
    Dimension.USER: "user",
    Dimension.TEAM: "team",
    Dimension.FEATURE: "feature",
    Dimension.LABEL: "label_value",
}
_CACHE_READS: Final = tuple(
    METER_FIELDS.index(name)
    for name in (
        "cache_read_token_count",
        "audio_cache_read_token_count",
        "image_cache_read_token_count",
    )
)
_INPUTS: Final = tuple(meter - 1 for meter in INPUT_TOKENS)


def render_page(question: UsageQuestion, page: Page) -> pb.GetUsageResponse:
    """Renders a page. Raises InvalidArgument if there are too many rows, or one is too large."""
    if page.next_after is not None and not question.is_paged:
        description = (
            f"gives more than {USAGE_ROW_COUNT_MAX} rows; ask for fewer dimensions or days, or for"
            " pages"
        )
        raise InvalidArgument([FieldViolation("group_by", description)])
    response = pb.GetUsageResponse(
        source=usage_pb2.UsageSource.ValueType(page.source.value),
        rows=[render_sums(question.query, row) for row in page.rows],
        dropped_days=map(str, page.dropped_days),
    )
    if page.next_after is not None:
        response.next_page_token = next_token(question, page.next_after)
    if page.total is not None and _fits(page.total):
        response.total.CopyFrom(render_sums(question.query, page.total))
    return response


def render_sums(query: UsageQuery, row: UsageSums) -> usage_pb2.UsageRow:
    """Renders one row. Raises InvalidArgument if a sum is too large for the contract."""
    if not _fits(row):
        description = "a sum is too large for the answer; ask for fewer days"
        raise InvalidArgument([FieldViolation("end_day", description)])
    counts = decode_histogram(row.latency_histogram)
    message = usage_pb2.UsageRow(
        org=row.org,
        operation=row.operation,
        provider=row.provider,
        model=row.model,
        call_count=row.call_count,
        failed_count=row.failed_count,
        unreported_count=row.unreported_count,
        cost_nanos=row.cost_nanos,
        unreported_cost_nanos=row.unreported_cost_nanos,
        baseline_nanos=row.baseline_nanos,
        meters=_render_meters(row.meters),
        latency_count=sum(counts),
        latency_p50_ms=percentile_ms(counts, 50),
        latency_p95_ms=percentile_ms(counts, 95),
        latency_p99_ms=percentile_ms(counts, 99),
        cache_hit_ratio=_cache_hit_ratio(row.meters),
        beyond_bound=row.has_value and not row.value,
        saved_nanos=row.saved_nanos,
        approved_count=row.approved_count,
        approved_ratio=row.approved_count / row.call_count if row.call_count else None,
        scores=[
            usage_pb2.MetricScore(metric=metric, call_count=count, mean=micros / count / 10**6)
            for metric, (count, micros) in sorted(row.scores.items())
        ],
    )
    _render_period(query, row, message)
    for dimension, field in _VALUE_FIELDS.items():
        if dimension in query.group_by:
            setattr(message, field, row.value)
    return message


def _fits(row: UsageSums) -> bool:
    sums = (row.cost_nanos, row.baseline_nanos, row.saved_nanos, *row.meters)
    return max(abs(each or 0) for each in sums) <= INT64_MAX


def _render_period(query: UsageQuery, row: UsageSums, message: usage_pb2.UsageRow) -> None:
    if row.day is None:
        return
    if Dimension.MONTH in query.group_by:
        message.month = f"{row.day:%Y-%m}"
    elif Dimension.HOUR in query.group_by:
        message.hour = f"{row.day.isoformat()}T{row.hour:02}"
    else:
        message.day = row.day.isoformat()


def _render_meters(meters: tuple[int | None, ...]) -> call_pb2.UsageMeters:
    known = zip(METER_FIELDS, meters, strict=True)
    return call_pb2.UsageMeters(**{name: count for name, count in known if count is not None})


def _cache_hit_ratio(meters: tuple[int | None, ...]) -> float | None:
    whole = sum(meters[place] or 0 for place in _INPUTS)
    return sum(meters[place] or 0 for place in _CACHE_READS) / whole if whole else None
