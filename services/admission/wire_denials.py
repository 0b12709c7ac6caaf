"""Domain → protobuf: denials, violations, waits."""

from __future__ import annotations

import datetime as dt
from functools import lru_cache
from typing import Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from headgate.api.common.v1 import denial_pb2, limit_pb2
from services.admission.domain.calls import Denied, Violation, Wait
from services.admission.domain.windows import EPOCH, FOREVER, MICROSECOND

_MICROS_PER_SECOND: Final = 1_000_000


def write_denial(denied: Denied, message: denial_pb2.Denial) -> None:
    """Writes why a call must not start into an answer: what is built apart is copied into it."""
    message.reason = denial_pb2.DenialReason.ValueType(denied.reason)
    for each in denied.violations:
        write_violation(each, message.violations.add())
    message.retry_kind = denial_pb2.RetryKind.ValueType(denied.wait.kind)
    _write_delay(denied.wait, message)
    message.message = denied.message
    message.limits_version = denied.limits_version


def render_violation(violation: Violation) -> denial_pb2.Violation:
    """Renders one limit that had no room."""
    message = denial_pb2.Violation()
    write_violation(violation, message)
    return message


def write_violation(violation: Violation, message: denial_pb2.Violation) -> None:
    """Writes one limit that had no room."""
    limit, wait = violation.limit, violation.wait
    message.limit_id, message.owner = limit.limit_id, limit.owner
    message.metric = limit_pb2.Metric.ValueType(limit.metric)
    for name, value in violation.scope:
        message.scope[name] = value
    message.cap, message.usable_cap = limit.cap, violation.usable_cap
    message.settled, message.held = violation.settled, violation.held
    message.requested, message.excess = violation.requested, violation.excess
    if violation.reset_time != FOREVER:
        message.reset_time.CopyFrom(render_time(violation.reset_time))
    message.retry_kind = denial_pb2.RetryKind.ValueType(wait.kind)
    _write_delay(wait, message)
    candidate = message.candidate
    candidate.provider, candidate.model = violation.candidate[:2]


def _write_delay(wait: Wait, message: denial_pb2.Denial | denial_pb2.Violation) -> None:
    delay = render_delay(wait)
    if delay is not None:
        message.retry_delay.CopyFrom(delay)


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
