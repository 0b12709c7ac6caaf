"""Messages about calls that are not made yet, as the plain values of `headgate.outlooks`."""

from __future__ import annotations

from headgate import outlooks
from headgate.api.common.v1 import denial_pb2, limit_pb2
from headgate.api.gateway.v1 import gateway_pb2
from headgate.decisions import Metric, RetryKind
from headgate.failures import parse_duration
from headgate.wire import (
    parse_candidate,
    parse_enum,
    parse_finished,
    parse_time,
    parse_violation,
)


def parse_extension(message: gateway_pb2.ExtendCallResponse) -> outlooks.Extension:
    """Returns the call after its extension."""
    lives = message.HasField("expire_time")
    ended = message.HasField("finished")
    return outlooks.Extension(
        expire_time=parse_time(message.expire_time) if lives else None,
        finished=parse_finished(message.finished) if ended else None,
        stop=message.stop,
        stop_message=message.stop_message,
    )


def parse_estimate(message: gateway_pb2.EstimateCostResponse) -> outlooks.Estimate:
    """Returns what a call would hold."""
    return outlooks.Estimate(
        candidates=tuple(
            outlooks.CandidateEstimate(
                candidate=parse_candidate(each.candidate),
                worst_case_nanos=each.worst_case_nanos,
                held_nanos=each.held_nanos,
                held_tokens=each.held_token_count,
                fits=each.fits,
                violations=tuple(map(parse_violation, each.violations)),
            )
            for each in message.candidates
        ),
        max_output_tokens=message.max_output_token_count,
        price_version=message.price_version,
    )


def parse_limits(message: gateway_pb2.WatchLimitsResponse) -> outlooks.LimitsState:
    """Returns the limits as they stand."""
    delayed = message.HasField("retry_delay")
    return outlooks.LimitsState(
        open=message.open,
        limits=tuple(map(_parse_limit, message.counters)),
        retry_delay=parse_duration(message.retry_delay) if delayed else None,
        retry_kind=parse_enum(RetryKind, denial_pb2.RetryKind.DESCRIPTOR, message.retry_kind),
        version=message.limits_version,
    )


def _parse_limit(message: limit_pb2.CounterState) -> outlooks.LimitState:
    return outlooks.LimitState(
        limit_id=message.limit_id,
        metric=parse_enum(Metric, limit_pb2.Metric.DESCRIPTOR, message.metric),
        scope=dict(message.scope),
        cap=message.cap if message.HasField("cap") else None,
        settled=message.settled,
        held=message.held,
        end_time=parse_time(message.end_time) if message.HasField("end_time") else None,
    )
