"""Domain → protobuf: denials, violations, waits."""

from __future__ import annotations

import datetime as dt
from functools import lru_cache
from typing import Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from headgate.api.common.v1 import call_pb2, denial_pb2, limit_pb2
from services.admission.domain.calls import Denied, Violation, Wait
from services.admission.domain.windows import EPOCH, FOREVER, MICROSECOND

_MICROS_PER_SECOND: Final = 1_000_000


def render_denial(denied: Denied) -> denial_pb2.Denial:
    """Renders why a call must not start."""
    return denial_pb2.Denial(
        reason=denial_pb2.DenialReason.ValueType(denied.reason.value),
        violations=[render_violation(each) for each in denied.violations],
        retry_kind=denial_pb2.RetryKind.ValueType(denied.wait.kind.value),
        retry_delay=render_delay(denied.wait),
        message=denied.message,
        limits_version=denied.limits_version,
    )


def render_violation(violation: Violation) -> denial_pb2.Violation:
    """Renders one limit that had no room."""
    limit = violation.limit
    return denial_pb2.Violation(
        limit_id=limit.limit_id,
        owner=limit.owner,
        metric=limit_pb2.Metric.ValueType(limit.metric.value),
        scope=dict(violation.scope),
        cap=limit.cap,
        usable_cap=violation.usable_cap,
        settled=violation.settled,
        held=violation.held,
        requested=violation.requested,
        excess=violation.excess,
        reset_time=render_end(violation.reset_time),
        retry_kind=denial_pb2.RetryKind.ValueType(violation.wait.kind.value),
        retry_delay=render_delay(violation.wait),
        candidate=call_pb2.Candidate(
            provider=violation.candidate.provider, model=violation.candidate.model
        ),
    )


def render_delay(wait: Wait) -> Duration | None:
    """Renders a delay, if it is known."""
    if wait.delay is None:
        return None
    seconds, rest = divmod(wait.delay // MICROSECOND, _MICROS_PER_SECOND)
    return Duration(seconds=seconds, nanos=rest * 1000)


@lru_cache(maxsize=64)
def render_time(instant: dt.datetime) -> Timestamp:
    """Renders an instant, exact to the microsecond. The calls of one batch share theirs, so the
    message must not be changed.
    """
    seconds, rest = divmod((instant - EPOCH) // MICROSECOND, _MICROS_PER_SECOND)
    return Timestamp(seconds=seconds, nanos=rest * 1000)


def render_end(instant: dt.datetime) -> Timestamp | None:
    """Renders an end, if there is one."""
    return None if instant == FOREVER else render_time(instant)
