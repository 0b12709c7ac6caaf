"""Reports and receipts between the contract and the gateway's own values."""

from __future__ import annotations

import re
from typing import Final

from google.protobuf.duration_pb2 import Duration

from chassis.checks import Checks
from chassis.errors import ServiceError
from gateway import wire
from gateway.decisions import CallName, Finished, ReceiptOrError, Report
from gateway.domain.fitness import BreakerState, Overall, overall
from gateway.domain.statuses import Level
from gateway.extensions import Extension
from gateway.health_watch import HealthCopy, read_state
from gateway.permits import Signer
from gateway.principals import Principal, Role
from headgate.api.admission.v1 import admission_pb2
from headgate.api.common.v1 import call_pb2, health_pb2
from headgate.api.gateway.v1 import gateway_pb2

# More than any call can use; accounting books no more either.
METER_COUNT_MAX: Final = 1_000_000_000
LATENCY_SECONDS_MAX: Final = 86_400
HOLD_SECONDS_MAX: Final = 86_400
ERROR_TYPE_LENGTH_MAX: Final = 64
SERVICE_TIER: Final = re.compile(r"[a-z0-9][a-z0-9_-]*")
SERVICE_TIER_LENGTH_MAX: Final = 32
_NANOS_PER_SECOND: Final = 1_000_000_000
_OUTCOMES: Final = frozenset(call_pb2.CallOutcome.values()) - {call_pb2.CALL_OUTCOME_UNSPECIFIED}

_OVERALL: Final = {
    Overall.HEALTHY: gateway_pb2.SERVICE_STATE_HEALTHY,
    Overall.DEGRADED: gateway_pb2.SERVICE_STATE_DEGRADED,
    Overall.STOPPED: gateway_pb2.SERVICE_STATE_STOPPED,
}


def parse_report(
    request: gateway_pb2.CompleteCallRequest,
    principal: Principal,
    signer: Signer,
    prefix: str = "",
) -> Report:
    """Checks one report. Raises InvalidArgument, PermitInvalid, or NotFound for the org."""
    checks = Checks(prefix)
    name = _read_name(checks, request, principal, signer)
    checks.choice("outcome", request.outcome, allowed=_OUTCOMES)
    if request.HasField("meters"):
        _check_meters(checks, request.meters)
    if request.HasField("latency"):
        _check_duration(checks, "latency", request.latency)
    if request.HasField("retry_delay"):
        _check_duration(checks, "retry_delay", request.retry_delay)
    checks.text("error_type", request.error_type, min_length=0, max_length=ERROR_TYPE_LENGTH_MAX)
    checks.text(
        "service_tier",
        request.service_tier,
        min_length=0,
        max_length=SERVICE_TIER_LENGTH_MAX,
        pattern=SERVICE_TIER,
    )
    checks.raise_if_any()
    _require_call(name, principal)
    return Report(name=name, outcome=request.outcome, message=request)


def parse_name(
    request: gateway_pb2.ReleaseCallRequest | gateway_pb2.RecordFeedbackRequest,
    principal: Principal,
    signer: Signer,
) -> CallName:
    """Checks which call is meant. Raises InvalidArgument, PermitInvalid, or NotFound."""
    checks = Checks()
    name = _read_name(checks, request, principal, signer)
    checks.raise_if_any()
    _require_call(name, principal)
    return name


def parse_extension(
    request: gateway_pb2.ExtendCallRequest, principal: Principal, signer: Signer
) -> Extension:
    """Checks an extension. Raises InvalidArgument, PermitInvalid, or NotFound."""
    checks = Checks()
    name = _read_name(checks, request, principal, signer)
    duration = None
    if request.HasField("hold_duration"):
        duration = request.hold_duration
        checks.integer("hold_duration", duration.seconds, minimum=1, maximum=HOLD_SECONDS_MAX)
        checks.integer("hold_duration", duration.nanos, minimum=0, maximum=_NANOS_PER_SECOND - 1)
    checks.raise_if_any()
    _require_call(name, principal)
    return Extension(name=name, hold_duration=duration)


def render_extension(
    call_id: str, result: admission_pb2.ExtensionResult
) -> gateway_pb2.ExtendCallResponse:
    """Renders until when a hold lives, or that its call has ended, and whether it must stop."""
    response = gateway_pb2.ExtendCallResponse(
        stop=result.HasField("fence"), stop_message=result.fence.message
    )
    if result.HasField("expire_time"):
        response.expire_time.CopyFrom(result.expire_time)
    else:
        finished = wire.render_finished(Finished(call_id=call_id, ended=result.ended))
        response.finished.CopyFrom(finished)
    return response


def render_result(result: ReceiptOrError) -> gateway_pb2.CompletionResult:
    """Renders one member's receipt, or why there is none."""
    if isinstance(result, ServiceError):
        return gateway_pb2.CompletionResult(error=result.to_member_error())
    booking = result.booking
    return gateway_pb2.CompletionResult(
        receipt=gateway_pb2.CallReceipt(
            call_id=result.call_id,
            total_nanos=booking.total_nanos,
            cost_basis=booking.cost_basis,
            replayed=not booking.first,
        )
    )


def render_status(copy: HealthCopy, principal: Principal) -> gateway_pb2.GetStatusResponse:
    """Renders the gateway's copy of health's state, without other orgs' credentials."""
    return gateway_pb2.GetStatusResponse(
        state=_OVERALL[_overall(copy)],
        kills=copy.kills.values(),
        providers=[copy.providers[name] for name in sorted(copy.providers)],
        stale=copy.stale,
        parts=[part for _, part in sorted(copy.parts.items()) if _may_see(part, principal)],
        down_providers=[name for name in sorted(copy.providers) if copy.level(name) is Level.DOWN],
    )


def _may_see(part: health_pb2.PartHealth, principal: Principal) -> bool:
    org = part.credential.partition("/")[0]
    return not org or org in principal.orgs or principal.may_act(Role.VIEWER)


def _overall(copy: HealthCopy) -> Overall:
    states = [read_state(each.state) for each in copy.providers.values()]
    if any(copy.level(name) is Level.DOWN for name in copy.providers):
        states.append(BreakerState.OPEN)
    return overall(states, stopped=copy.stopped)


def _read_name(
    checks: Checks,
    request: gateway_pb2.CompleteCallRequest
    | gateway_pb2.ReleaseCallRequest
    | gateway_pb2.RecordFeedbackRequest
    | gateway_pb2.ExtendCallRequest,
    principal: Principal,
    signer: Signer,
) -> CallName:
    if not request.permit:
        org = wire.read_org(checks, request.org, principal)
        call_id = wire.read_id(checks, "call_id", request.call_id)
        return CallName(org=org, call_id=call_id, permit=None)
    permit = signer.verify(request.permit)
    if request.org and request.org != permit.org:
        checks.violate("org", "is not the permit's; leave it empty, the permit is enough")
    if request.call_id and request.call_id.lower() != permit.call_id:
        checks.violate("call_id", "is not the permit's; leave it empty, the permit is enough")
    return CallName(org=permit.org, call_id=permit.call_id, permit=permit)


def _require_call(name: CallName, principal: Principal) -> None:
    """Raises NotFound for another org's call, PermissionDenied for another operation's."""
    wire.require_org(name.org, principal)
    if name.permit is not None:
        wire.require_operation(name.permit.operation, principal)


def _check_meters(checks: Checks, meters: call_pb2.UsageMeters) -> None:
    for field, count in meters.ListFields():
        if not 0 <= count <= METER_COUNT_MAX:
            checks.integer(f"meters.{field.name}", count, minimum=0, maximum=METER_COUNT_MAX)


def _check_duration(checks: Checks, field: str, value: Duration) -> None:
    if not 0 <= value.nanos < _NANOS_PER_SECOND or value.seconds < 0:
        checks.violate(field, "must be a duration of at least 0")
    elif value.seconds + value.nanos / _NANOS_PER_SECOND > LATENCY_SECONDS_MAX:
        checks.violate(field, "must be at most 24 hours")
