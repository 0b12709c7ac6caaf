"""Protobuf ⇄ domain: limits, fences and counters. Validation with field paths."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from chassis.checks import Checks
from headgate.api.admission.v1 import admission_pb2 as pb
from headgate.api.common.v1 import limit_pb2
from services.admission.books import CounterRow
from services.admission.domain.fences import Fence
from services.admission.domain.limits import (
    ALERT_PERCENTS,
    AMOUNT_MAX,
    ANY,
    DIMENSIONS,
    PERCENT,
    Limit,
    Metric,
    Mode,
    Scope,
    Shares,
    is_dimension,
    ordered,
)
from services.admission.domain.windows import (
    EPOCH,
    FOREVER,
    CalendarWindow,
    IntervalWindow,
    TotalWindow,
    Window,
)
from services.admission.wire import INT64_MAX, NAME, VALUE
from services.admission.wire_denials import render_end, render_time
from services.admission.wire_windows import parse_time, parse_window, window_fields

LIMIT_ID: Final = re.compile(r"[a-z0-9][a-z0-9._-]*")
SCOPE_SIZE_MAX: Final = 6
# Decisions wait while a set is written: this many take a fraction of a second.
APPLIED_COUNT_MAX: Final = 5_000
ALERT_COUNT_MAX: Final = 8
ALERT_PERCENT_MAX: Final = 1_000
VALUE_LENGTH_MAX: Final = 160


def parse_put_limit(request: pb.PutLimitRequest) -> Limit:
    """Returns the limit. Raises InvalidArgument with every wrong field."""
    outer = Checks()
    _check_audit_id(outer, request.audit_id)
    checks = Checks("limit.")
    limit = parse_limit(checks, request.limit)
    outer.violations += checks.violations
    outer.raise_if_any()
    return limit


def parse_apply(request: pb.ApplyLimitsRequest) -> tuple[list[Limit], list[str]]:
    """Returns the limits to write and the ids of those to delete. Raises InvalidArgument."""
    checks, deleted = Checks(), list(request.deleted_limit_ids)
    if not 1 <= len(request.limits) + len(deleted) <= APPLIED_COUNT_MAX:
        checks.violate("limits", f"send 1 to {APPLIED_COUNT_MAX}, the deleted ones included")
        checks.raise_if_any()
    _check_audit_id(checks, request.audit_id)
    limits, members = [], []
    for place, message in enumerate(request.limits):
        inner = Checks(f"limits[{place}].")
        limits.append(parse_limit(inner, message))
        checks.violations += inner.violations
        members.append((f"limits[{place}].limit_id", message.limit_id))
    for place, limit_id in enumerate(deleted):
        path = f"deleted_limit_ids[{place}]"
        checks.text(path, limit_id, max_length=64, pattern=LIMIT_ID)
        members.append((path, limit_id))
    checks.distinct(members)
    checks.raise_if_any()
    return limits, deleted


def parse_limit(checks: Checks, limit: limit_pb2.Limit) -> Limit:
    """Returns the limit; what is wrong with it is on the checks."""
    checks.text("limit_id", limit.limit_id, max_length=64, pattern=LIMIT_ID)
    metric = checks.choice("metric", limit.metric, allowed=[each.value for each in Metric])
    window = parse_window(checks, limit)
    checks.integer("cap", limit.cap, minimum=0, maximum=AMOUNT_MAX)
    checks.text("owner", limit.owner, min_length=0, max_length=256)
    checks.integer("mode", limit.mode, minimum=0, maximum=max(Mode))
    start = parse_time(checks, "start_time", limit.start_time)
    end = FOREVER
    if limit.HasField("end_time"):
        end = parse_time(checks, "end_time", limit.end_time)
    if start >= end:
        checks.violate("end_time", "must be after start_time")
    return Limit(
        limit_id=limit.limit_id,
        scope=_parse_scope(checks, limit.scope, patterns=True),
        metric=Metric(metric) if metric in set(Metric) else Metric.CALLS,
        window=window,
        cap=limit.cap,
        owner=limit.owner,
        mode=Mode(limit.mode or Mode.ENFORCE) if limit.mode in {0, *Mode} else Mode.ENFORCE,
        start=start if limit.HasField("start_time") else EPOCH,
        end=end,
        shares=_parse_shares(checks, limit),
        alert_percents=_parse_alerts(checks, limit.alert_percents, window),
    )


def parse_delete_limit(request: pb.DeleteLimitRequest) -> str:
    """Returns the limit's id. Raises InvalidArgument with every wrong field."""
    checks = Checks()
    checks.text("limit_id", request.limit_id, max_length=64, pattern=LIMIT_ID)
    _check_audit_id(checks, request.audit_id)
    checks.raise_if_any()
    return request.limit_id


def read_expected(request: pb.PutLimitRequest | pb.DeleteLimitRequest) -> int | None:
    """Returns the version that the limit must have. None: any."""
    return request.expected_version if request.HasField("expected_version") else None


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
    scope = _parse_scope(checks, request.scope, patterns=False)
    expire_time = FOREVER
    if request.HasField("expire_time"):
        expire_time = parse_time(checks, "expire_time", request.expire_time)
    checks.raise_if_any()
    return Fence(
        fence_id=request.fence_id,
        sequence=request.sequence,
        active=request.active,
        message=request.message,
        scope=scope,
        expire_time=expire_time,
    )


def render_limit(limit: Limit) -> limit_pb2.Limit:
    """Renders a limit as stored."""
    message = limit_pb2.Limit(
        limit_id=limit.limit_id,
        scope=dict(limit.scope),
        metric=limit_pb2.Metric.ValueType(limit.metric.value),
        cap=limit.cap,
        owner=limit.owner,
        mode=limit_pb2.LimitMode.ValueType(limit.mode.value),
        start_time=None if limit.start == EPOCH else render_time(limit.start),
        end_time=render_end(limit.end),
        alert_percents=limit.alert_percents,
        version=limit.version,
        **window_fields(limit.window),
    )
    if limit.shares != Shares():
        message.shares.default_percent = limit.shares.default_percent
        message.shares.sheddable_percent = limit.shares.sheddable_percent
    return message


def render_counter(row: CounterRow) -> limit_pb2.CounterState:
    """Renders a counter with the limit in force."""
    key, counter, limit = row.key, row.counter, row.limit
    message = limit_pb2.CounterState(
        scope=dict(key.scope),
        metric=limit_pb2.Metric.ValueType(key.metric.value),
        start_time=None if key.span.start == EPOCH else render_time(key.span.start),
        end_time=render_end(key.span.end),
        held=counter.held,
        settled=counter.settled,
        overrun=counter.overrun,
        high_cap=counter.high_cap,
        statistical=counter.statistical,
        **window_fields(key.window),
    )
    if limit is not None:
        message.cap, message.limit_id = limit.cap, limit.limit_id
        message.mode = limit_pb2.LimitMode.ValueType(limit.mode.value)
    return message


def render_invalid(errors: Mapping[str, str]) -> list[pb.InvalidLimit]:
    """Renders limits that disabled themselves."""
    return [pb.InvalidLimit(limit_id=limit_id, error=error) for limit_id, error in errors.items()]


def _check_audit_id(checks: Checks, audit_id: str) -> None:
    checks.text("audit_id", audit_id, min_length=0, max_length=64, pattern=NAME)


def _parse_scope(checks: Checks, scope: Mapping[str, str], *, patterns: bool) -> Scope:
    checks.integer("scope.length", len(scope), minimum=0, maximum=SCOPE_SIZE_MAX)
    for name, value in sorted(scope.items()):
        if not is_dimension(name) or not NAME.fullmatch(name) or len(name) > VALUE_LENGTH_MAX:
            known = ", ".join(DIMENSIONS)
            checks.violate("scope", f"{name[:64]!r} is no dimension; known: {known}, label.KEY")
        elif value == ANY and not patterns:
            checks.violate(f"scope[{name}]", "a fence covers one value; leave out what it ignores")
        elif value != ANY:
            checks.text(f"scope[{name}]", value, max_length=VALUE_LENGTH_MAX, pattern=VALUE)
    return ordered(scope)


def _parse_shares(checks: Checks, limit: limit_pb2.Limit) -> Shares:
    if not limit.HasField("shares"):
        return Shares()
    shares = limit.shares
    checks.integer("shares.default_percent", shares.default_percent, minimum=0, maximum=PERCENT)
    checks.integer(
        "shares.sheddable_percent",
        shares.sheddable_percent,
        minimum=0,
        maximum=max(0, min(shares.default_percent, PERCENT)),
    )
    return Shares(
        default_percent=shares.default_percent, sheddable_percent=shares.sheddable_percent
    )


def _parse_alerts(checks: Checks, percents: Sequence[int], window: Window) -> tuple[int, ...]:
    if not percents:
        return ALERT_PERCENTS
    if not isinstance(window, CalendarWindow | TotalWindow | IntervalWindow):
        checks.violate("alert_percents", "only go with calendar, total and interval windows")
    checks.integer("alert_percents.length", len(percents), minimum=0, maximum=ALERT_COUNT_MAX)
    for position, percent in enumerate(percents):
        checks.integer(
            f"alert_percents[{position}]", percent, minimum=1, maximum=ALERT_PERCENT_MAX
        )
    if list(percents) != sorted(set(percents)):
        checks.violate("alert_percents", "must ascend, each once")
    return tuple(percents)
