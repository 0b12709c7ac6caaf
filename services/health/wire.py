"""Protobuf ⇄ domain, and the validation of every field with its path."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from chassis.checks import Checks
from chassis.errors import InvalidArgument, ServiceError
from headgate.api.admission.v1 import admission_pb2
from headgate.api.common.v1 import call_pb2
from headgate.api.common.v1 import health_pb2 as common_pb2
from headgate.api.health.v1 import health_pb2 as pb
from services.health.breakers import ProbeAnswer
from services.health.domain.breakers import (
    Breaker,
    BreakerState,
    CallKey,
    Observation,
    Outcome,
    ProbeWish,
)
from services.health.domain.kills import Fence, KillOrder, KillState, KillSwitch, ResumeOrder
from services.health.domain.states import HealthState, Update, snapshot

BATCH_SIZE_MAX: Final = 256
INT32_MAX: Final = 2**31 - 1
INT64_MAX: Final = 2**63 - 1
PROVIDER: Final = re.compile(r"[a-z0-9][a-z0-9._-]*")
ORG: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
NAME_LENGTH_MAX: Final = 64
ACTOR_LENGTH_MAX: Final = 128
TEXT_LENGTH_MAX: Final = 1024

OUTCOMES: Final = {
    call_pb2.CALL_OUTCOME_SUCCEEDED: Outcome.SUCCEEDED,
    call_pb2.CALL_OUTCOME_PROVIDER_FAILED: Outcome.FAILED,
    call_pb2.CALL_OUTCOME_REJECTED: Outcome.NEUTRAL,
    call_pb2.CALL_OUTCOME_ABORTED: Outcome.NEUTRAL,
    call_pb2.CALL_OUTCOME_THROTTLED: Outcome.NEUTRAL,
}
BREAKER_STATES: Final = {
    BreakerState.CLOSED: common_pb2.BREAKER_STATE_CLOSED,
    BreakerState.OPEN: common_pb2.BREAKER_STATE_OPEN,
    BreakerState.HALF_OPEN: common_pb2.BREAKER_STATE_HALF_OPEN,
}
KILL_STATES: Final = {
    KillState.INTENDED: common_pb2.KILL_STATE_INTENDED,
    KillState.IN_FORCE: common_pb2.KILL_STATE_IN_FORCE,
    KillState.RESUMING: common_pb2.KILL_STATE_RESUMING,
    KillState.RESUMED: common_pb2.KILL_STATE_RESUMED,
}


def parse_observations(request: pb.ObserveRequest) -> list[Observation | ServiceError]:
    """Returns each outcome, or what is wrong with it. Raises if the batch itself is wrong."""
    _check_size("observations", len(request.observations))
    return [
        _parse_observation(each, f"observations[{position}].")
        for position, each in enumerate(request.observations)
    ]


def parse_wishes(request: pb.AcquireProbesRequest) -> list[ProbeWish | ServiceError]:
    """Returns each wish, or what is wrong with it. Raises if the batch itself is wrong."""
    _check_size("probes", len(request.probes))
    return [
        _parse_wish(each, f"probes[{position}].") for position, each in enumerate(request.probes)
    ]


def parse_kill(request: pb.KillRequest) -> KillOrder:
    """Returns the order. Raises InvalidArgument."""
    checks = Checks()
    order = KillOrder(
        reason=checks.text("reason", request.reason, max_length=TEXT_LENGTH_MAX),
        message=checks.text("message", request.message, max_length=TEXT_LENGTH_MAX, min_length=0),
        actor=checks.text("actor", request.actor, max_length=ACTOR_LENGTH_MAX),
        audit_id=checks.text("audit_id", request.audit_id, max_length=NAME_LENGTH_MAX),
    )
    checks.raise_if_any()
    return order


def parse_resume(request: pb.ResumeRequest) -> ResumeOrder:
    """Returns the order. Raises InvalidArgument."""
    checks = Checks()
    order = ResumeOrder(
        reason=checks.text("reason", request.reason, max_length=TEXT_LENGTH_MAX),
        actor=checks.text("actor", request.actor, max_length=ACTOR_LENGTH_MAX),
        audit_id=checks.text("audit_id", request.audit_id, max_length=NAME_LENGTH_MAX),
    )
    checks.raise_if_any()
    return order


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


def render_health(state: HealthState) -> pb.GetHealthResponse:
    """Renders the whole state."""
    whole = snapshot(state)
    return pb.GetHealthResponse(
        version=whole.version,
        providers=[_render_breaker(each) for each in whole.breakers],
        kills=[render_kill(each) for each in whole.kills],
    )


def render_update(update: Update) -> pb.WatchResponse:
    """Renders a message of the stream."""
    return pb.WatchResponse(
        version=update.version,
        snapshot=update.is_snapshot,
        providers=[_render_breaker(each) for each in update.breakers],
        kills=[render_kill(each) for each in update.kills],
    )


def render_kill(kill: KillSwitch) -> common_pb2.KillSwitch:
    """Renders a switch."""
    return common_pb2.KillSwitch(
        kill_id=kill.kill_id,
        state=KILL_STATES[kill.state],
        reason=kill.reason,
        message=kill.message,
        actor=kill.actor,
        sequence=kill.sequence,
        change_time=_render_time(kill.change_time),
    )


def render_fence(kill: KillSwitch) -> admission_pb2.SetFenceRequest:
    """Renders the fence that a switch wants."""
    return admission_pb2.SetFenceRequest(
        fence_id=kill.kill_id,
        sequence=kill.sequence,
        active=kill.is_wanted,
        message=kill.message,
        actor=kill.actor,
    )


def parse_fence(response: admission_pb2.SetFenceResponse) -> Fence:
    """Returns the fence as admission says that it is."""
    return Fence(sequence=response.sequence, active=response.active)


def _parse_observation(member: pb.Observation, path: str) -> Observation | ServiceError:
    checks = Checks(path)
    provider = _check_provider(checks, member.provider)
    epoch = checks.integer("breaker_epoch", member.breaker_epoch, minimum=0, maximum=INT64_MAX)
    outcome = checks.choice("outcome", member.outcome, allowed=OUTCOMES)
    call = _parse_call(checks, member.org, member.call_id)
    if checks.violations:
        return InvalidArgument(checks.violations)
    return Observation(
        provider=provider,
        epoch=epoch,
        outcome=OUTCOMES[call_pb2.CallOutcome.ValueType(outcome)],
        call=call,
    )


def _parse_wish(member: pb.ProbeRequest, path: str) -> ProbeWish | ServiceError:
    checks = Checks(path)
    provider = _check_provider(checks, member.provider)
    call = _parse_call(checks, member.org, member.call_id)
    if checks.violations:
        return InvalidArgument(checks.violations)
    return ProbeWish(provider=provider, call=call)


def _check_size(field: str, count: int) -> None:
    checks = Checks()
    if not 1 <= count <= BATCH_SIZE_MAX:
        checks.violate(field, f"send from 1 to {BATCH_SIZE_MAX} members")
    checks.raise_if_any()


def _check_provider(checks: Checks, value: str) -> str:
    return checks.text("provider", value, max_length=NAME_LENGTH_MAX, pattern=PROVIDER)


def _parse_call(checks: Checks, org: str, call_id: str) -> CallKey:
    return CallKey(
        org=checks.text("org", org, max_length=NAME_LENGTH_MAX, pattern=ORG),
        call_id=checks.uuid("call_id", call_id),
    )


def _render_probe(answer: ProbeAnswer) -> pb.ProbeResult:
    return pb.ProbeResult(granted=answer.granted, breaker_epoch=answer.epoch)


def _render_breaker(breaker: Breaker) -> common_pb2.ProviderHealth:
    return common_pb2.ProviderHealth(
        provider=breaker.provider,
        state=BREAKER_STATES[breaker.state],
        epoch=breaker.epoch,
        consecutive_failure_count=min(breaker.failure_count, INT32_MAX),
        probe_time=_render_time(breaker.open_until),
        change_time=_render_time(breaker.change_time),
        success_time=_render_time(breaker.success_time),
        failure_time=_render_time(breaker.failure_time),
    )


def _render_time(instant: dt.datetime | None) -> Timestamp | None:
    if instant is None:
        return None
    rendered = Timestamp()
    rendered.FromDatetime(instant)
    return rendered
