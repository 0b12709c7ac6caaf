"""Domain → protobuf: what became of operations on calls."""

from __future__ import annotations

from chassis.errors import AlreadyExists, NotFound, ServiceError, translate
from headgate.api.admission.v1 import admission_pb2 as pb
from headgate.api.common.v1 import call_pb2, explanation_pb2
from services.admission import wire_denials
from services.admission.domain.calls import (
    Denied,
    Ended,
    Extended,
    Held,
    IdReused,
    NotExpired,
    Outcome,
    Reservation,
    Unknown,
)
from services.admission.domain.fences import Fence
from services.admission.wire_denials import render_time, write_denial


def write_reservation(outcome: Outcome | BaseException, message: pb.ReservationResult) -> None:
    """Writes what was decided for a call that wants to start into an answer: a message that is
    built first and put into its answer afterwards is copied at each level.
    """
    match outcome:
        case Held():
            write_hold(outcome.reservation, outcome.replayed, message.hold)
            message.hold.limits_version = outcome.limits_version
        case Denied():
            write_denial(outcome, message.denial)
        case Ended():
            message.ended.CopyFrom(_render_ended(outcome))
        case _:
            message.error.CopyFrom(render_error(outcome))


def render_end(outcome: Outcome | BaseException) -> pb.EndResult:
    """Renders the state after a settlement or release."""
    if isinstance(outcome, Ended):
        return pb.EndResult(ended=_render_ended(outcome))
    return pb.EndResult(error=render_error(outcome))


def render_extension(outcome: Outcome | BaseException) -> pb.ExtensionResult:
    """Renders what became of an extension."""
    match outcome:
        case Extended():
            return pb.ExtensionResult(
                expire_time=render_time(outcome.expire_time), fence=render_stop(outcome.fence)
            )
        case Ended():
            return pb.ExtensionResult(
                ended=_render_ended(outcome), fence=render_stop(outcome.fence)
            )
        case _:
            return pb.ExtensionResult(error=render_error(outcome))


def render_stop(fence: Fence | None) -> explanation_pb2.Fence | None:
    """Renders the fence that stops a call, if there is one."""
    return None if fence is None else render_fence(fence)


def render_fence(fence: Fence) -> explanation_pb2.Fence:
    """Renders a fence."""
    return explanation_pb2.Fence(
        fence_id=fence.fence_id,
        sequence=fence.sequence,
        active=fence.active,
        message=fence.message,
        scope=dict(fence.scope),
        expire_time=wire_denials.render_end(fence.expire_time),
    )


def write_hold(reservation: Reservation, replayed: bool, message: pb.Hold) -> None:
    """Writes a hold as it was admitted."""
    candidate = message.candidate
    candidate.provider, candidate.model = reservation.provider, reservation.model
    message.held_nanos = reservation.held_nanos
    message.held_token_count = reservation.held_tokens
    message.worst_case_nanos = reservation.worst_nanos
    message.admit_time.CopyFrom(render_time(reservation.admit_time))
    message.expire_time.CopyFrom(render_time(reservation.expire_time))
    message.price_version = reservation.price_version
    message.breaker_epoch = reservation.breaker_epoch
    message.operation = reservation.operation
    message.replayed = replayed


def render_error(outcome: Outcome | BaseException) -> call_pb2.CallError:
    """Renders why one member failed."""
    match outcome:
        case IdReused():
            error: ServiceError = AlreadyExists(
                "the call's id is known with other fields", call_id=str(outcome.key.call_id)
            )
        case Unknown():
            error = NotFound("call", str(outcome.key.call_id))
        case NotExpired() | Held() | Denied() | Ended() | Extended():
            raise TypeError(outcome)
        case Exception():
            error = translate(outcome)
        case _:
            raise outcome
    return error.to_member_error()


def _render_ended(outcome: Ended) -> pb.Ended:
    return pb.Ended(
        state=pb.ReservationState.ValueType(outcome.state.value),
        settled_nanos=outcome.settled_nanos,
    )
