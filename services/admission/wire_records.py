"""Rows ⇄ protobuf: violations on record and the feed of crossings."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final

import asyncpg

from chassis import paging
from chassis.checks import Checks
from headgate.api.admission.v1 import admission_pb2 as pb
from headgate.api.common.v1 import denial_pb2, limit_pb2, violation_pb2
from services.admission.domain.windows import EPOCH
from services.admission.records import FeedPosition, ViolationQuery
from services.admission.rows import scope_of
from services.admission.wire import INT64_MAX, NAME
from services.admission.wire_denials import render_end, render_time
from services.admission.wire_policy import LIMIT_ID

PAGE_SIZE_DEFAULT: Final = 100
FEED_SIZE_DEFAULT: Final = 500


def parse_violations(request: pb.ListViolationsRequest) -> ViolationQuery:
    """Returns which violations are asked for. Raises InvalidArgument."""
    checks = Checks()
    limit_id, org = request.limit_id, request.org
    checks.text("limit_id", limit_id, min_length=0, max_length=64, pattern=LIMIT_ID)
    checks.text("org", org, min_length=0, max_length=64, pattern=NAME)
    checks.raise_if_any()
    size = paging.page_size(request.page_size, default=PAGE_SIZE_DEFAULT)
    cursor = paging.decode_token(request.page_token, limit_id=limit_id, org=org)
    after = None
    if cursor is not None:
        minute, after_limit, after_org, shadow = cursor
        after = (
            dt.datetime.fromisoformat(str(minute)),
            str(after_limit),
            str(after_org),
            bool(shadow),
        )
    return ViolationQuery(limit_id=limit_id, org=org, after=after, size=size)


def render_violations(
    query: ViolationQuery, counts: Sequence[asyncpg.Record], samples: Sequence[asyncpg.Record]
) -> pb.ListViolationsResponse:
    """Renders a page of violations."""
    page, rest = counts[: query.size], counts[query.size :]
    token = ""
    if rest:
        last = page[-1]
        token = paging.encode_token(
            (last["minute"].isoformat(), last["limit_id"], last["org"], int(last["shadow"])),
            limit_id=query.limit_id,
            org=query.org,
        )
    return pb.ListViolationsResponse(
        violations=[_render_count(each) for each in page],
        samples=[_render_sample(each) for each in samples],
        next_page_token=token,
    )


def parse_crossings(request: pb.ListCrossingsRequest) -> tuple[FeedPosition, int]:
    """Returns after which position how many crossings are asked for. Raises InvalidArgument."""
    checks = Checks()
    after = request.after
    checks.integer("after.transaction_id", after.transaction_id, minimum=0, maximum=INT64_MAX)
    checks.integer("after.row_id", after.row_id, minimum=0, maximum=INT64_MAX)
    checks.raise_if_any()
    size = paging.page_size(request.page_size, default=FEED_SIZE_DEFAULT)
    return (after.transaction_id, after.row_id), size


def render_crossings(rows: Sequence[asyncpg.Record]) -> pb.ListCrossingsResponse:
    """Renders a page of the feed."""
    response = pb.ListCrossingsResponse(crossings=[_render_crossing(each) for each in rows])
    if rows:
        response.next.transaction_id = rows[-1]["transaction_id"]
        response.next.row_id = rows[-1]["crossing_id"]
    return response


def _render_count(row: asyncpg.Record) -> violation_pb2.ViolationCount:
    return violation_pb2.ViolationCount(
        limit_id=row["limit_id"],
        org=row["org"],
        minute=render_time(row["minute"]),
        call_count=row["call_count"],
        requested_nanos=min(int(row["requested_nanos"]), INT64_MAX),
        shadow=row["shadow"],
    )


def _render_sample(row: asyncpg.Record) -> violation_pb2.ViolationSample:
    return violation_pb2.ViolationSample(
        violation_time=render_time(row["violation_time"]),
        org=row["org"],
        call_id=str(row["call_id"]),
        operation=row["operation"],
        violation=denial_pb2.Violation.FromString(row["violation"]),
    )


def _render_crossing(row: asyncpg.Record) -> pb.Crossing:
    return pb.Crossing(
        limit_id=row["limit_id"],
        scope=dict(scope_of(row["scope"])),
        metric=limit_pb2.Metric.ValueType(row["metric"]),
        start_time=None if row["start_time"] == EPOCH else render_time(row["start_time"]),
        end_time=render_end(row["end_time"]),
        percent=row["percent"],
        cap=row["cap"],
        settled=row["settled"],
        cross_time=render_time(row["cross_time"]),
        owner=row["owner"],
        counter_id=str(row["counter_id"]),
    )
