"""The state and the kill switch: protobuf ⇄ domain, and the validation of every field."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import Final

from chassis.checks import Checks
from headgate.api.admission.v1 import admission_pb2
from headgate.api.common.v1 import health_pb2 as common_pb2
from headgate.api.health.v1 import health_pb2 as pb
from services.health.domain.kills import (
    DIMENSIONS,
    PLATFORM,
    Fence,
    KillOrder,
    KillState,
    KillSwitch,
    ResumeOrder,
    Scope,
)
from services.health.domain.states import HealthState, Update, snapshot
from services.health.wire_breakers import (
    ACTOR_LENGTH_MAX,
    NAME_LENGTH_MAX,
    TEXT_LENGTH_MAX,
    parse_duration,
    render_part,
    render_provider,
    render_time,
)
from services.health.wire_toggles import render_toggle

# Ids that health makes.
KILL_ID: Final = re.compile(r"[a-z0-9][a-z0-9-]*")
# What admission takes as a dimension's value.
VALUE: Final = re.compile(r"[!-~]+")
VALUE_LENGTH_MAX: Final = 128
EXPIRE_DURATION_MAX: Final = dt.timedelta(days=366)
KILL_STATES: Final = {
    KillState.INTENDED: common_pb2.KILL_STATE_INTENDED,
    KillState.IN_FORCE: common_pb2.KILL_STATE_IN_FORCE,
    KillState.RESUMING: common_pb2.KILL_STATE_RESUMING,
    KillState.RESUMED: common_pb2.KILL_STATE_RESUMED,
}


def parse_kill(request: pb.KillRequest) -> KillOrder:
    """Returns the order. Raises InvalidArgument."""
    checks = Checks()
    duration = None
    if request.HasField("expire_duration"):
        duration = parse_duration(
            checks, "expire_duration", request.expire_duration, maximum=EXPIRE_DURATION_MAX
        )
        if duration < dt.timedelta(seconds=1) and not checks.violations:
            checks.violate("expire_duration", "must be at least 1 s")
    order = KillOrder(
        scope=_parse_scope(checks, request.scope),
        duration=duration,
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
    kill_id = request.kill_id or PLATFORM
    order = ResumeOrder(
        kill_id=checks.text("kill_id", kill_id, max_length=NAME_LENGTH_MAX, pattern=KILL_ID),
        reason=checks.text("reason", request.reason, max_length=TEXT_LENGTH_MAX),
        actor=checks.text("actor", request.actor, max_length=ACTOR_LENGTH_MAX),
        audit_id=checks.text("audit_id", request.audit_id, max_length=NAME_LENGTH_MAX),
    )
    checks.raise_if_any()
    return order


def render_health(state: HealthState) -> pb.GetHealthResponse:
    """Renders the whole state."""
    whole = snapshot(state)
    return pb.GetHealthResponse(
        version=whole.version,
        providers=_render_providers(whole),
        parts=_render_parts(whole),
        kills=[render_kill(each) for each in whole.kills],
    )


def render_update(update: Update) -> pb.WatchResponse:
    """Renders a message of the stream."""
    return pb.WatchResponse(
        version=update.version,
        snapshot=update.is_snapshot,
        providers=_render_providers(update),
        parts=_render_parts(update),
        toggles=map(render_toggle, update.toggles),
        send_time=render_time(update.now),
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
        change_time=render_time(kill.change_time),
        scope=dict(kill.scope),
        expire_time=render_time(kill.expire_time),
        set_by=kill.set_by,
        set_time=render_time(kill.set_time),
    )


def render_fence(kill: KillSwitch) -> admission_pb2.SetFenceRequest:
    """Renders the fence that a switch wants."""
    return admission_pb2.SetFenceRequest(
        fence_id=kill.kill_id,
        sequence=kill.sequence,
        active=kill.is_wanted,
        message=kill.message,
        actor=kill.actor,
        scope=dict(kill.scope),
        expire_time=render_time(kill.expire_time),
    )


def parse_fence(response: admission_pb2.SetFenceResponse) -> Fence:
    """Returns the fence as admission says that it is."""
    return Fence(sequence=response.sequence, active=response.active)


def _parse_scope(checks: Checks, scope: Mapping[str, str]) -> Scope:
    for dimension, value in scope.items():
        if dimension not in DIMENSIONS:
            # Not repeated: nobody has checked it yet.
            checks.violate("scope", f"may have {', '.join(DIMENSIONS)}")
        else:
            checks.text(f"scope[{dimension}]", value, max_length=VALUE_LENGTH_MAX, pattern=VALUE)
    return tuple((each, scope[each]) for each in DIMENSIONS if each in scope)


def _render_providers(update: Update) -> list[common_pb2.ProviderHealth]:
    return [
        render_provider(each, update.figures.get(each.key.provider))
        for each in update.breakers
        if each.key.is_provider
    ]


def _render_parts(update: Update) -> list[common_pb2.PartHealth]:
    return [render_part(each) for each in update.breakers if not each.key.is_provider]
