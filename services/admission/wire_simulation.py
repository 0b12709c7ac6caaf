"""Protobuf → domain: trials of limits, and the calls of the past that they are tried on."""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass
from typing import Final

from chassis.checks import Checks
from chassis.errors import AlreadyExists
from headgate.api.accounting.v1 import accounting_pb2
from headgate.api.admission.v1 import admission_pb2 as pb
from services.admission.domain.calls import CallKey, Candidate, Reserve
from services.admission.domain.limits import Limit, Priority, with_caller
from services.admission.domain.simulation import PastCall
from services.admission.domain.windows import EPOCH
from services.admission.wire import NAME
from services.admission.wire_policy import parse_limit
from services.admission.wire_windows import parse_time

LIMIT_COUNT_MAX: Final = 1_000
DAY_COUNT_MAX: Final = 92
# Of a call that ended without saying when.
LATENCY_DEFAULT: Final = dt.timedelta(seconds=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Limits to try on the calls of an interval."""

    start: dt.datetime
    end: dt.datetime
    limits: tuple[Limit, ...]
    # Empty: all.
    org: str


def parse_trial(request: pb.SimulateLimitsRequest) -> Trial:
    """Returns the trial. Raises InvalidArgument with every wrong field, or AlreadyExists."""
    checks = Checks()
    for field in ("start_time", "end_time"):
        if not request.HasField(field):
            checks.violate(field, "required: send an instant")
    start = parse_time(checks, "start_time", request.start_time)
    end = parse_time(checks, "end_time", request.end_time)
    if not dt.timedelta() < end - start <= dt.timedelta(days=DAY_COUNT_MAX):
        checks.violate("end_time", f"must be at most {DAY_COUNT_MAX} days after start_time")
    checks.text("org", request.org, min_length=0, max_length=64, pattern=NAME)
    checks.integer("limits.length", len(request.limits), minimum=1, maximum=LIMIT_COUNT_MAX)
    limits = []
    for position, each in enumerate(request.limits[:LIMIT_COUNT_MAX]):
        member = Checks(f"limits[{position}].")
        limits.append(parse_limit(member, each))
        checks.violations += member.violations
    checks.raise_if_any()
    _check_patterns(limits)
    return Trial(start=start, end=end, limits=tuple(limits), org=request.org)


def _check_patterns(limits: list[Limit]) -> None:
    seen: dict[object, str] = {}
    for limit in limits:
        pattern = (limit.scope, limit.metric, limit.window, limit.start, limit.end)
        for key in (pattern, limit.limit_id):
            if key in seen:
                raise AlreadyExists(
                    f"{seen[key]} and {limit.limit_id} have the same pattern, or name",
                    reason="LIMIT_EXISTS",
                    limit=limit.limit_id,
                )
            seen[key] = limit.limit_id


def parse_past(booked: accounting_pb2.ReplayedCall) -> PastCall:
    """Returns a call of the log. It was checked when it was booked."""
    admit_time = _instant(booked)
    tokens = booked.token_count if booked.HasField("token_count") else None
    held_tokens = booked.held_token_count if booked.HasField("held_token_count") else tokens or 0
    named = {name: getattr(booked, name) for name in ("team", "user", "session", "feature")}
    named["api_key"] = booked.api_key_id
    labels = {f"label.{key}": value for key, value in booked.labels.items()}
    dimensions = {name: value for name, value in (named | labels).items() if value}
    latency = booked.latency.ToTimedelta() if booked.HasField("latency") else LATENCY_DEFAULT
    return PastCall(
        call=Reserve(
            key=CallKey(booked.org, uuid.UUID(booked.call_id)),
            fingerprint=b"",
            operation=booked.operation,
            candidates=(
                Candidate(
                    booked.candidate.provider,
                    booked.candidate.model,
                    booked.held_nanos,
                    0,
                    held_tokens,
                ),
            ),
            hold_duration=latency,
            price_version=0,
            dimensions=with_caller(dimensions),
            priority=Priority(booked.priority or Priority.DEFAULT),
        ),
        admit_time=admit_time,
        end_time=admit_time + latency,
        total_nanos=booked.total_nanos,
        token_count=tokens,
    )


def _instant(booked: accounting_pb2.ReplayedCall) -> dt.datetime:
    at = booked.admit_time
    return EPOCH + dt.timedelta(seconds=at.seconds, microseconds=at.nanos // 1_000)
