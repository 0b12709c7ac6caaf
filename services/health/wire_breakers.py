"""Breakers, outcomes and probes: protobuf ⇄ domain, and the validation of every field."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from typing import Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.checks import Checks
from chassis.errors import InvalidArgument, ServiceError
from headgate.api.common.v1 import call_pb2
from headgate.api.common.v1 import health_pb2 as common_pb2
from headgate.api.health.v1 import health_pb2 as pb
from services.health.breakers import ProbeAnswer
from services.health.domain.breakers import (
    Breaker,
    BreakerState,
    CallKey,
    Forced,
    Observation,
    ProbeWish,
    Way,
)
from services.health.domain.signals import Classification, Outcome
from services.health.domain.windows import Figures

BATCH_SIZE_MAX: Final = 256
INT32_MAX: Final = 2**31 - 1
INT64_MAX: Final = 2**63 - 1
PROVIDER: Final = re.compile(r"[a-z0-9][a-z0-9._-]*")
MODEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]*")
ORG: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
CREDENTIAL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?")
NAME_LENGTH_MAX: Final = 64
MODEL_LENGTH_MAX: Final = 128
CREDENTIAL_LENGTH_MAX: Final = 129
ACTOR_LENGTH_MAX: Final = 128
TEXT_LENGTH_MAX: Final = 1024
DURATION_MAX: Final = dt.timedelta(days=1)
_NANOS_PER_SECOND: Final = 1_000_000_000

OUTCOMES: Final = {
    call_pb2.CALL_OUTCOME_SUCCEEDED: Outcome.SUCCEEDED,
    call_pb2.CALL_OUTCOME_PROVIDER_FAILED: Outcome.PROVIDER_FAILED,
    call_pb2.CALL_OUTCOME_REJECTED: Outcome.REJECTED,
    call_pb2.CALL_OUTCOME_ABORTED: Outcome.ABORTED,
    call_pb2.CALL_OUTCOME_THROTTLED: Outcome.THROTTLED,
}
BREAKER_STATES: Final = {
    BreakerState.CLOSED: common_pb2.BREAKER_STATE_CLOSED,
    BreakerState.OPEN: common_pb2.BREAKER_STATE_OPEN,
    BreakerState.HALF_OPEN: common_pb2.BREAKER_STATE_HALF_OPEN,
}
OVERRIDES: Final = {
    Forced.NOT: common_pb2.BREAKER_OVERRIDE_UNSPECIFIED,
    Forced.OPEN: common_pb2.BREAKER_OVERRIDE_OPEN,
    Forced.CLOSED: common_pb2.BREAKER_OVERRIDE_CLOSED,
}


def parse_observations(
    request: pb.ObserveRequest, table: Classification
) -> list[Observation | ServiceError]:
    """Returns each outcome, or what is wrong with it. Raises if the batch itself is wrong."""
    _check_size("observations", len(request.observations))
    return [
        _parse_observation(each, f"observations[{position}].", table)
        for position, each in enumerate(request.observations)
    ]


def parse_wishes(request: pb.AcquireProbesRequest) -> list[ProbeWish | ServiceError]:
    """Returns each wish, or what is wrong with it. Raises if the batch itself is wrong."""
    _check_size("probes", len(request.probes))
    return [
        _parse_wish(each, f"probes[{position}].") for position, each in enumerate(request.probes)
    ]


def render_observed(
    parsed: Sequence[Observation | ServiceError], *, stale_count: int
) -> pb.ObserveResponse:
    """Renders how many outcomes were dropped, and which were refused."""
    return pb.ObserveResponse(
        stale_count=stale_count,
        errors=[
            pb.ObservationError(position=position, error=each.to_member_error())
            for position, each in enumerate(parsed)
            if isinstance(each, ServiceError)
        ],
    )


def render_probes(
    parsed: Sequence[ProbeWish | ServiceError], answers: Sequence[ProbeAnswer]
) -> pb.AcquireProbesResponse:
    """Renders a result for each member; `answers` are those of the members that were right."""
    remaining = iter(answers)
    return pb.AcquireProbesResponse(
        results=[
            pb.ProbeResult(error=each.to_member_error())
            if isinstance(each, ServiceError)
            else _render_probe(next(remaining))
            for each in parsed
        ]
    )


def render_provider(breaker: Breaker, figures: Figures | None) -> common_pb2.ProviderHealth:
    """Renders a provider's own breaker with what its last minute says."""
    rendered = common_pb2.ProviderHealth(
        provider=breaker.key.provider,
        state=BREAKER_STATES[breaker.state],
        epoch=breaker.epoch,
        last_epoch=breaker.last_epoch,
        override=OVERRIDES[breaker.forced],
        consecutive_failure_count=min(breaker.failure_count, INT32_MAX),
        probe_time=render_time(breaker.open_until),
        change_time=render_time(breaker.change_time),
        success_time=render_time(breaker.success_time),
        failure_time=render_time(breaker.failure_time),
    )
    if figures is not None:
        rendered.call_count = figures.call_count
        rendered.error_rate_percent = figures.error_rate_percent
        if figures.latency_p50_ms is not None:
            rendered.latency_p50_duration.FromMilliseconds(figures.latency_p50_ms)
        if figures.latency_p95_ms is not None:
            rendered.latency_p95_duration.FromMilliseconds(figures.latency_p95_ms)
    return rendered


def render_part(breaker: Breaker) -> common_pb2.PartHealth:
    """Renders the breaker of a model or a credential."""
    return common_pb2.PartHealth(
        provider=breaker.key.provider,
        model=breaker.key.model,
        credential=breaker.key.credential,
        state=BREAKER_STATES[breaker.state],
        epoch=breaker.epoch,
        override=OVERRIDES[breaker.forced],
        consecutive_failure_count=min(breaker.failure_count, INT32_MAX),
        probe_time=render_time(breaker.open_until),
        cool_time=render_time(breaker.cool_until),
        refuse_time=render_time(breaker.refuse_time),
        change_time=render_time(breaker.change_time),
        failure_time=render_time(breaker.failure_time),
    )


def render_time(instant: dt.datetime | None) -> Timestamp | None:
    """Renders an instant; None stays unset."""
    if instant is None:
        return None
    rendered = Timestamp()
    rendered.FromDatetime(instant)
    return rendered


def _parse_observation(
    member: pb.Observation, path: str, table: Classification
) -> Observation | ServiceError:
    checks = Checks(path)
    way = parse_way(checks, member.provider, member.model, member.credential)
    epoch = checks.integer("breaker_epoch", member.breaker_epoch, minimum=0, maximum=INT64_MAX)
    outcome = checks.choice("outcome", member.outcome, allowed=OUTCOMES)
    call = _parse_call(checks, member.org, member.call_id)
    error_type = checks.text(
        "error_type", member.error_type, min_length=0, max_length=NAME_LENGTH_MAX
    )
    latency = cool = None
    if member.HasField("latency"):
        latency = parse_duration(checks, "latency", member.latency)
    if member.HasField("retry_delay"):
        cool = parse_duration(checks, "retry_delay", member.retry_delay)
    if checks.violations:
        return InvalidArgument(checks.violations)
    known = OUTCOMES[call_pb2.CallOutcome.ValueType(outcome)]
    return Observation(
        way=way,
        epoch=epoch,
        signal=table.classify(way.provider, known, error_type),
        call=call,
        latency=latency,
        cool_duration=cool or dt.timedelta(0),
    )


def _parse_wish(member: pb.ProbeRequest, path: str) -> ProbeWish | ServiceError:
    checks = Checks(path)
    way = parse_way(checks, member.provider, member.model, member.credential)
    call = _parse_call(checks, member.org, member.call_id)
    lease = None
    if member.HasField("lease_duration"):
        lease = parse_duration(checks, "lease_duration", member.lease_duration)
        if lease < dt.timedelta(seconds=1):
            checks.violate("lease_duration", "must be at least 1 s")
    if checks.violations:
        return InvalidArgument(checks.violations)
    return ProbeWish(way=way, call=call, lease=lease, extends=member.extend_only)


def parse_way(checks: Checks, provider: str, model: str, credential: str) -> Way:
    """Checks the names of a way."""
    return Way(
        provider=check_provider(checks, provider),
        model=checks.text(
            "model", model, min_length=0, max_length=MODEL_LENGTH_MAX, pattern=MODEL
        ),
        credential=checks.text(
            "credential",
            credential,
            min_length=0,
            max_length=CREDENTIAL_LENGTH_MAX,
            pattern=CREDENTIAL,
        ),
    )


def parse_duration(
    checks: Checks, field: str, value: Duration, *, maximum: dt.timedelta = DURATION_MAX
) -> dt.timedelta:
    """Returns the duration; refuses what is none, negative, or as long as the maximum."""
    if value.seconds < 0 or not 0 <= value.nanos < _NANOS_PER_SECOND:
        checks.violate(field, "must be a duration of at least 0")
    elif value.seconds >= maximum.total_seconds():
        checks.violate(field, f"must be shorter than {maximum.total_seconds() / 3600:.0f} hours")
    else:
        return dt.timedelta(seconds=value.seconds, microseconds=value.nanos // 1_000)
    return dt.timedelta(0)


def _check_size(field: str, count: int) -> None:
    checks = Checks()
    if not 1 <= count <= BATCH_SIZE_MAX:
        checks.violate(field, f"send from 1 to {BATCH_SIZE_MAX} members")
    checks.raise_if_any()


def check_provider(checks: Checks, value: str) -> str:
    """Checks the name of a provider."""
    return checks.text("provider", value, max_length=NAME_LENGTH_MAX, pattern=PROVIDER)


def _parse_call(checks: Checks, org: str, call_id: str) -> CallKey:
    return CallKey(
        org=checks.text("org", org, max_length=NAME_LENGTH_MAX, pattern=ORG),
        call_id=checks.uuid("call_id", call_id),
    )


def _render_probe(answer: ProbeAnswer) -> pb.ProbeResult:
    return pb.ProbeResult(granted=answer.granted, breaker_epoch=answer.epoch)
