"""Settlement feed: protobuf to domain with validation, and back."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from typing import Final

from chassis.checks import Checks
from chassis.paging import page_size
from headgate.api.accounting.v1 import accounting_pb2 as pb
from headgate.api.common.v1 import call_pb2
from services.accounting.domain.usage import FEED_START, FeedPosition, Settlement
from services.accounting.store import ReplayedPart
from services.accounting.wire import INT64_MAX, NAME_LENGTH_MAX
from services.accounting.wire_usage import check_interval, parse_instant

FEED_PAGE_DEFAULT: Final = 500
FEED_PAGE_MAX: Final = 1_000
REPLAY_DAYS_MAX: Final = dt.timedelta(days=92)


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


def parse_replay(request: pb.ReplayUsageRequest) -> tuple[dt.datetime, dt.datetime, str]:
    """Returns the interval and the org. Raises InvalidArgument."""
    checks = Checks()
    start = parse_instant(checks, "start_time", request.start_time)
    end = parse_instant(checks, "end_time", request.end_time)
    if not checks.violations:
        check_interval(checks, start, end, ("end_time", "start_time"))
        if end - start > REPLAY_DAYS_MAX:
            checks.violate("end_time", f"must be at most {REPLAY_DAYS_MAX.days} days later")
    org = checks.text("org", request.org, min_length=0, max_length=NAME_LENGTH_MAX)
    checks.raise_if_any()
    return start, end, org


def render_replay(part: ReplayedPart) -> pb.ReplayUsageResponse:
    """Renders some calls."""
    response = pb.ReplayUsageResponse(total_count=part.total_count)
    for row in part.rows:
        call = response.calls.add(
            org=row["org"],
            call_id=str(row["call_id"]),
            operation=row["operation"],
            candidate=call_pb2.Candidate(provider=row["provider"], model=row["model"]),
            held_nanos=row["held_nanos"],
            total_nanos=row["total_nanos"],
            held_token_count=row["held_token_count"],
            token_count=row["token_count"],
            api_key_id=row["api_key_id"],
            team=row["team"],
            user=row["user_name"],
            session=row["session"],
            feature=row["feature"],
            labels=json.loads(row["labels"]) if row["labels"] else {},
            priority=row["priority"],
        )
        call.admit_time.FromDatetime(row["admit_time"])
        if row["latency_ms"] is not None:
            call.latency.FromMilliseconds(row["latency_ms"])
    return response


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
