"""Protobuf ⇄ domain: limits, fences and counters. Validation with field paths."""

from __future__ import annotations

import re
from typing import Final

from chassis.checks import Checks
from headgate.api.admission.v1 import admission_pb2 as pb
from headgate.api.common.v1 import limit_pb2
from services.admission.books import CounterRow
from services.admission.domain.limits import AMOUNT_MAX, ANY, DIMENSIONS, Fence, Limit, Metric
from services.admission.domain.windows import CalendarWindow, Period, zone_named
from services.admission.wire import INT64_MAX, NAME, render_time

LIMIT_ID: Final = re.compile(r"[a-z0-9][a-z0-9._-]*")
DEFAULT_ZONE: Final = "UTC"


def parse_put_limit(request: pb.PutLimitRequest) -> Limit:
    """Returns the limit. Raises InvalidArgument with every wrong field."""
    outer = Checks()
    _check_audit_id(outer, request.audit_id)
    limit, checks = request.limit, Checks("limit.")
    checks.text("limit_id", limit.limit_id, max_length=64, pattern=LIMIT_ID)
    _check_scope(checks, limit)
    metric = checks.choice("metric", limit.metric, allowed=[each.value for each in Metric])
    period = checks.choice(
        "calendar.period", limit.calendar.period, allowed=[each.value for each in Period]
    )
    checks.integer("cap", limit.cap, minimum=0, maximum=AMOUNT_MAX)
    checks.text("owner", limit.owner, min_length=0, max_length=256)
    zone = limit.calendar.time_zone or DEFAULT_ZONE
    _check_zone(checks, zone)
    outer.violations += checks.violations
    outer.raise_if_any()
    return Limit(
        limit_id=limit.limit_id,
        scope=tuple((name, limit.scope[name]) for name in DIMENSIONS if name in limit.scope),
        metric=Metric(metric),
        window=CalendarWindow(period=Period(period), time_zone=zone),
        cap=limit.cap,
        owner=limit.owner,
    )


def parse_delete_limit(request: pb.DeleteLimitRequest) -> str:
    """Returns the limit's id. Raises InvalidArgument with every wrong field."""
    checks = Checks()
    checks.text("limit_id", request.limit_id, max_length=64, pattern=LIMIT_ID)
    _check_audit_id(checks, request.audit_id)
    checks.raise_if_any()
    return request.limit_id


def parse_counters_org(request: pb.ListCountersRequest) -> str | None:
    """Returns the org whose counters are asked for, None for all. Raises InvalidArgument."""
    if not request.HasField("org"):
        return None
    checks = Checks()
    # The platform's own counters belong to no org.
    checks.text("org", request.org, min_length=0, max_length=64, pattern=NAME)
    checks.raise_if_any()
    return request.org


def parse_fence(request: pb.SetFenceRequest) -> Fence:
    """Returns the fence. Raises InvalidArgument with every wrong field."""
    checks = Checks()
    checks.text("fence_id", request.fence_id, max_length=64, pattern=NAME)
    checks.integer("sequence", request.sequence, minimum=1, maximum=INT64_MAX)
    checks.text("message", request.message, min_length=0, max_length=1024)
    checks.text("actor", request.actor, max_length=128)
    checks.raise_if_any()
    return Fence(
        fence_id=request.fence_id,
        sequence=request.sequence,
        active=request.active,
        message=request.message,
    )


def render_limit(limit: Limit) -> limit_pb2.Limit:
    """Renders a limit as stored."""
    return limit_pb2.Limit(
        limit_id=limit.limit_id,
        scope=dict(limit.scope),
        metric=limit_pb2.Metric.ValueType(limit.metric.value),
        calendar=_render_window(limit.window),
        cap=limit.cap,
        owner=limit.owner,
    )


def render_counter(row: CounterRow) -> limit_pb2.CounterState:
    """Renders a counter with the cap in force."""
    return limit_pb2.CounterState(
        scope=dict(row.key.scope),
        metric=limit_pb2.Metric.ValueType(row.key.metric.value),
        calendar=_render_window(row.key.window),
        start_time=render_time(row.key.span.start),
        end_time=render_time(row.key.span.end),
        held=row.held,
        settled=row.settled,
        overrun=row.overrun,
        high_cap=row.high_cap,
        cap=row.cap,
    )


def _check_audit_id(checks: Checks, audit_id: str) -> None:
    checks.text("audit_id", audit_id, min_length=0, max_length=64, pattern=NAME)


def _check_scope(checks: Checks, limit: limit_pb2.Limit) -> None:
    for name, value in sorted(limit.scope.items()):
        if name not in DIMENSIONS:
            known = ", ".join(DIMENSIONS)
            checks.violate("scope", f"{name[:64]!r} is no dimension; known: {known}")
        elif value != ANY:
            checks.text(f"scope[{name}]", value, max_length=64, pattern=NAME)


def _check_zone(checks: Checks, zone: str) -> None:
    try:
        zone_named(checks.text("calendar.time_zone", zone, max_length=64))
    except ValueError:
        checks.violate("calendar.time_zone", "send an IANA name such as Europe/Amsterdam")


def _render_window(window: CalendarWindow) -> limit_pb2.CalendarWindow:
    return limit_pb2.CalendarWindow(
        period=limit_pb2.CalendarPeriod.ValueType(window.period.value),
        time_zone=window.time_zone,
    )
