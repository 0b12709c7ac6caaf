"""Messages of the contract from and to the plain values that users see."""

from __future__ import annotations

import enum
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Final, TypeVar

from google.protobuf.duration_pb2 import Duration

from headgate import decisions
from headgate.api.common.v1 import call_pb2, denial_pb2, health_pb2, limit_pb2
from headgate.api.gateway.v1 import gateway_pb2
from headgate.errors import RpcError
from headgate.failures import parse_call_error, parse_duration

if TYPE_CHECKING:
    from google.protobuf.descriptor import EnumDescriptor
    from google.protobuf.timestamp_pb2 import Timestamp

E = TypeVar("E", bound=enum.Enum)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)


def parse_decision(
    message: gateway_pb2.CallDecision,
) -> decisions.Decision | RpcError:
    """Returns the decision, or the error of this member of a batch."""
    kind = message.WhichOneof("decision")
    if kind == "admission":
        return _parse_admission(message.admission)
    if kind == "denial":
        return parse_denial(message.denial)
    if kind == "finished":
        return parse_finished(message.finished)
    if kind == "error":
        return parse_call_error(message.error)
    return RpcError(
        "the gateway's decision is of a kind that this client is too old for", code="UNKNOWN"
    )


def _parse_admission(message: gateway_pb2.Admission) -> decisions.Admission:
    return decisions.Admission(
        call_id=message.call_id,
        org=message.org,
        candidate=parse_candidate(message.candidate),
        held_nanos=message.held_nanos,
        max_output_tokens=message.max_output_token_count,
        permit=message.permit,
        admit_time=parse_time(message.admit_time),
        expire_time=parse_time(message.expire_time),
        replayed=message.replayed,
        fallback_text=message.fallback_text,
        plain_fallback_text=message.plain_fallback_text,
    )


def parse_denial(message: denial_pb2.Denial) -> decisions.Denial:
    """Returns the denial; its delay is rounded up, so that waiting it out is enough."""
    delay = parse_duration(message.retry_delay) if message.HasField("retry_delay") else None
    return decisions.Denial(
        reason=parse_enum(
            decisions.DenialReason, denial_pb2.DenialReason.DESCRIPTOR, message.reason
        ),
        violations=tuple(parse_violation(each) for each in message.violations),
        retry_delay=delay,
        retry_kind=parse_enum(
            decisions.RetryKind, denial_pb2.RetryKind.DESCRIPTOR, message.retry_kind
        ),
        message=message.message,
        fallback_text=message.fallback_text,
        plain_fallback_text=message.plain_fallback_text,
    )


def parse_violation(message: denial_pb2.Violation) -> decisions.Violation:
    """Returns one limit that was broken."""
    resets = message.HasField("reset_time")
    return decisions.Violation(
        limit_id=message.limit_id,
        owner=message.owner,
        metric=parse_enum(decisions.Metric, limit_pb2.Metric.DESCRIPTOR, message.metric),
        scope=dict(message.scope),
        cap=message.cap,
        settled=message.settled,
        held=message.held,
        requested=message.requested,
        excess=message.excess,
        reset_time=parse_time(message.reset_time) if resets else None,
        candidate=parse_candidate(message.candidate),
    )


def parse_finished(message: gateway_pb2.FinishedCall) -> decisions.FinishedCall:
    """Returns how the call ended."""
    return decisions.FinishedCall(
        call_id=message.call_id,
        state=parse_enum(
            decisions.FinishedState, gateway_pb2.FinishedState.DESCRIPTOR, message.state
        ),
        settled_nanos=message.settled_nanos,
    )


def parse_completion(message: gateway_pb2.CompletionResult) -> decisions.Receipt | RpcError:
    """Returns the receipt, or the error of this member of a batch."""
    kind = message.WhichOneof("result")
    if kind == "receipt":
        return parse_receipt(message.receipt)
    if kind == "error":
        return parse_call_error(message.error)
    return RpcError("the gateway answered neither a receipt nor an error", code="UNKNOWN")


def parse_receipt(message: gateway_pb2.CallReceipt) -> decisions.Receipt:
    """Returns what was booked."""
    return decisions.Receipt(
        call_id=message.call_id,
        total_nanos=message.total_nanos,
        cost_basis=parse_enum(
            decisions.CostBasis, call_pb2.CostBasis.DESCRIPTOR, message.cost_basis
        ),
        replayed=message.replayed,
    )


def parse_status(message: gateway_pb2.GetStatusResponse) -> decisions.Status:
    """Returns whether calls pass."""
    closed = health_pb2.BREAKER_STATE_CLOSED
    return decisions.Status(
        state=parse_enum(
            decisions.ServiceState, gateway_pb2.ServiceState.DESCRIPTOR, message.state
        ),
        kill_messages=tuple(each.message for each in message.kills),
        unfit_providers=tuple(each.provider for each in message.providers if each.state != closed),
        stale=message.stale,
    )


def render_candidate(candidate: decisions.Candidate) -> call_pb2.Candidate:
    """Returns the candidate's message."""
    return call_pb2.Candidate(provider=candidate.provider, model=candidate.model)


def render_outcome(outcome: decisions.CallOutcome) -> call_pb2.CallOutcome.ValueType:
    """Returns the outcome's number on the wire."""
    return call_pb2.CallOutcome.Value(f"CALL_OUTCOME_{outcome.value}")


def render_duration(seconds: float | None) -> Duration | None:
    """Returns the duration, cut to microseconds; None stays unset."""
    if seconds is None:
        return None
    return Duration(seconds=int(seconds), nanos=int(seconds % 1 * 1e6) * 1000)


def parse_candidate(message: call_pb2.Candidate) -> decisions.Candidate:
    """Returns the candidate."""
    return decisions.Candidate(provider=message.provider, model=message.model)


def parse_time(timestamp: Timestamp) -> datetime:
    """Returns the instant, in UTC."""
    # As `ToDatetime` does, in a fifth of its time.
    return _EPOCH + timedelta(seconds=timestamp.seconds, microseconds=timestamp.nanos // 1000)


def parse_enum(kind: type[E], descriptor: EnumDescriptor, number: int) -> E:
    """Returns the member of the same name. Numbers that are too new are `UNRECOGNIZED`."""
    prefix = descriptor.values_by_number[0].name.removesuffix("UNSPECIFIED")
    value = descriptor.values_by_number.get(number)
    name = value.name.removeprefix(prefix) if value else ""
    return kind.__members__.get(name) or kind["UNRECOGNIZED"]
