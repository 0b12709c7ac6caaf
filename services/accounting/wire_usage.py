"""Questions about usage: protobuf to domain with validation."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from dataclasses import dataclass, replace
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from chassis import paging
from chassis.checks import Checks
from headgate.api.accounting.v1 import accounting_pb2 as pb
from headgate.api.common.v1 import usage_pb2
from services.accounting.domain.summaries import PERIODS, VALUED, Dimension, Source, UsageQuery
from services.accounting.summaries import Key
from services.accounting.wire import (
    KEY_LENGTH_MAX,
    LABEL_COUNT_MAX,
    LABEL_KEY_LENGTH_MAX,
    LABEL_VALUE_LENGTH_MAX,
    NAME_LENGTH_MAX,
    PROVIDER_LENGTH_MAX,
)

USAGE_DAY_COUNT_MAX: Final = 366
USAGE_ROW_COUNT_MAX: Final = 10_000

_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
# Last second of the year 9999.
_SECONDS_MAX: Final = 253_402_300_799
_NANOS_MAX: Final = 999_999_999
_ONE_DAY: Final = dt.timedelta(days=1)
_DIMENSIONS: Final = frozenset(Dimension)
_SOURCES: Final = frozenset({Source.LOG, Source.ROLLUP})


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageQuestion:
    """A query with how it is to be answered."""

    query: UsageQuery
    # None: the service chooses.
    source: Source | None
    # Rows of a page. Of one that is not paged, all.
    count: int
    is_paged: bool
    after: Key | None
    # Whether the rows tell what was said of quality.
    with_scores: bool
    # What a page token is bound to.
    digest: str


def parse_question(request: pb.GetUsageRequest) -> UsageQuestion:
    """Returns the question. Raises InvalidArgument."""
    checks = Checks()
    start, end = parse_interval(checks, request)
    group_by = _parse_dimensions(checks, request)
    if request.source:
        checks.choice("source", request.source, allowed=_SOURCES)
    query = parse_filter(checks, request.filter, start=start, end=end, org=request.org)
    label_key = _parse_label_key(checks, request.filter, group_by)
    checks.raise_if_any()
    digest = _digest(request)
    return UsageQuestion(
        query=replace(query, group_by=group_by, label_key=label_key),
        source=Source(request.source) if request.source else None,
        count=paging.page_size(
            request.page_size, default=USAGE_ROW_COUNT_MAX, maximum=USAGE_ROW_COUNT_MAX
        ),
        is_paged=request.page_size > 0,
        after=_parse_token(checks, request.page_token, digest),
        with_scores=request.with_scores,
        digest=digest,
    )


def parse_interval(checks: Checks, request: pb.GetUsageRequest) -> tuple[dt.datetime, dt.datetime]:
    """Returns the first instant and the one after the last, from days or from instants."""
    found = len(checks.violations)
    wanted = request.filter
    if wanted.HasField("start_time") or wanted.HasField("end_time"):
        if request.start_day or request.end_day:
            checks.violate("start_day", "send days or instants, not both")
        start = parse_instant(checks, "filter.start_time", wanted.start_time)
        end = parse_instant(checks, "filter.end_time", wanted.end_time)
        fields = ("filter.end_time", "filter.start_time")
    else:
        start = _parse_day(checks, "start_day", request.start_day)
        end = _parse_day(checks, "end_day", request.end_day)
        fields = ("end_day", "start_day")
        if end < start and len(checks.violations) == found:
            checks.violate("end_day", "must not be before start_day")
        # Its last instant; the last day of all has no day after it.
        end = end if end.date() == dt.date.max else end + _ONE_DAY
    if len(checks.violations) == found:
        check_interval(checks, start, end, fields)
    return start, end


def check_interval(
    checks: Checks, start: dt.datetime, end: dt.datetime, fields: tuple[str, str]
) -> None:
    """Checks that an interval is not empty and not too long; `fields` are its end and start."""
    end_field, start_field = fields
    if end <= start:
        checks.violate(end_field, f"must be after {start_field}")
    elif end - start > dt.timedelta(days=USAGE_DAY_COUNT_MAX + 1):
        checks.violate(
            end_field, f"must be at most {USAGE_DAY_COUNT_MAX} days after {start_field}"
        )


def parse_instant(checks: Checks, field: str, value: Timestamp) -> dt.datetime:
    """Returns an instant to the microsecond."""
    seconds, nanos = value.seconds, value.nanos
    if not (0 < seconds <= _SECONDS_MAX and 0 <= nanos <= _NANOS_MAX):
        checks.violate(field, "required: send an instant since 1970")
        return _EPOCH
    return _EPOCH + dt.timedelta(seconds=seconds, microseconds=nanos // 1_000)


def parse_filter(
    checks: Checks,
    message: usage_pb2.UsageFilter,
    *,
    start: dt.datetime,
    end: dt.datetime,
    org: str,
) -> UsageQuery:
    """Returns a query that is not grouped."""

    def name(field: str, value: str, max_length: int = NAME_LENGTH_MAX) -> str:
        return checks.text(field, value, min_length=0, max_length=max_length)

    values = {
        "api_key": name("filter.api_key_id", message.api_key_id, KEY_LENGTH_MAX),
        "user": name("filter.user", message.user),
        "team": name("filter.team", message.team),
        "feature": name("filter.feature", message.feature),
    }
    if len(message.labels) > LABEL_COUNT_MAX:
        checks.violate("filter.labels", f"at most {LABEL_COUNT_MAX} are allowed")
    for key, value in message.labels.items():
        checks.text("filter.labels", key, max_length=LABEL_KEY_LENGTH_MAX)
        checks.text(f'filter.labels["{key}"]', value, max_length=LABEL_VALUE_LENGTH_MAX)
        values[f"label.{key}"] = value
    return UsageQuery(
        start=start,
        end=end,
        org=name("org", org),
        operation=name("filter.operation", message.operation),
        provider=name("filter.provider", message.provider, PROVIDER_LENGTH_MAX),
        model=name("filter.model", message.model),
        values={dimension: value for dimension, value in values.items() if value},
    )


def next_token(question: UsageQuestion, after: Key) -> str:
    """Returns the token of the page after a key."""
    return paging.encode_token((after[0].isoformat(), *after[1:]), query=question.digest)


def _parse_dimensions(checks: Checks, request: pb.GetUsageRequest) -> frozenset[Dimension]:
    for place, dimension in enumerate(request.group_by):
        checks.choice(f"group_by[{place}]", dimension, allowed=_DIMENSIONS)
    known = frozenset(Dimension(each) for each in request.group_by if int(each) in _DIMENSIONS)
    if len(known & PERIODS) > 1:
        checks.violate("group_by", "name at most one of hour, day and month")
    if len(known & VALUED.keys()) > 1:
        checks.violate("group_by", "name at most one of API key, user, team, feature and label")
    return known


def _parse_label_key(
    checks: Checks, message: usage_pb2.UsageFilter, group_by: frozenset[Dimension]
) -> str:
    wanted = Dimension.LABEL in group_by
    if message.label_key and not wanted:
        checks.violate("filter.label_key", "needs the label among the dimensions of group_by")
    return checks.text(
        "filter.label_key",
        message.label_key,
        min_length=int(wanted),
        max_length=LABEL_KEY_LENGTH_MAX,
    )


def _parse_day(checks: Checks, field: str, value: str) -> dt.datetime:
    try:
        if _DAY.fullmatch(value):
            return dt.datetime.combine(dt.date.fromisoformat(value), dt.time(), dt.UTC)
    except ValueError:
        pass
    checks.violate(field, "send a day such as 2026-01-31")
    return _EPOCH


def _digest(request: pb.GetUsageRequest) -> str:
    bound = pb.GetUsageRequest()
    bound.CopyFrom(request)
    bound.ClearField("page_token")
    bound.ClearField("page_size")
    return hashlib.sha256(bound.SerializeToString(deterministic=True)).hexdigest()


def _parse_token(checks: Checks, token: str, digest: str) -> Key | None:
    cursor = paging.decode_token(token, query=digest)
    if cursor is None:
        return None
    match cursor:
        case (
            str(day),
            int(hour),
            str(org),
            str(operation),
            str(provider),
            str(model),
            bool(has_value),
            str(value),
        ) if _DAY.fullmatch(day):
            return (
                dt.date.fromisoformat(day),
                hour,
                org,
                operation,
                provider,
                model,
                has_value,
                value,
            )
    checks.violate("page_token", "is not one of ours; start again without it")
    checks.raise_if_any()
    return None
