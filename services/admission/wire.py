"""Protobuf ⇄ domain: reserve, settle, release and look-up. Validation with field paths."""

from __future__ import annotations

import datetime as dt
import re
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from chassis.checks import Checks
from chassis.errors import AlreadyExists, InvalidArgument, ServiceError, translate
from headgate.api.accounting.v1 import accounting_pb2
from headgate.api.admission.v1 import admission_pb2 as pb
from headgate.api.common.v1 import call_pb2, denial_pb2, limit_pb2
from services.admission.domain.calls import (
    CallKey,
    Candidate,
    Denied,
    Ended,
    Held,
    IdReused,
    NotExpired,
    Outcome,
    Release,
    Reservation,
    Reserve,
    Settle,
    Violation,
)
from services.admission.domain.limits import AMOUNT_MAX

BATCH_SIZE_MAX: Final = 256
CANDIDATE_COUNT_MAX: Final = 4
HOLD_SECONDS_MAX: Final = 86_400
FINGERPRINT_SIZE: Final = 32
INT32_MAX: Final = 2**31 - 1
INT64_MAX: Final = 2**63 - 1
# Also what the gateway lets through: letters of any script are refused in names that go in keys.
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
MODEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]*")


def check_batch(field: str, count: int) -> None:
    """Raises InvalidArgument unless a batch has 1 to 256 members."""
    checks = Checks()
    checks.integer(f"{field}.length", count, minimum=1, maximum=BATCH_SIZE_MAX)
    checks.raise_if_any()


def parse_reserve(request: pb.ReservationRequest, path: str) -> Reserve | ServiceError:
    """Returns the operation, or what is wrong with this member."""
    checks = Checks(path)
    key = _parse_key(checks, request.org, request.call_id)
    checks.text("operation", request.operation, max_length=64, pattern=NAME)
    if len(request.fingerprint) != FINGERPRINT_SIZE:
        checks.violate("fingerprint", f"send the {FINGERPRINT_SIZE} bytes of a SHA-256")
    seconds, nanos = request.hold_duration.seconds, request.hold_duration.nanos
    checks.integer("hold_duration", seconds, minimum=1, maximum=HOLD_SECONDS_MAX)
    checks.integer("price_version", request.price_version, minimum=0, maximum=INT64_MAX)
    count = len(request.candidates)
    checks.integer("candidates.length", count, minimum=1, maximum=CANDIDATE_COUNT_MAX)
    candidates = tuple(
        _parse_candidate(checks, each, f"candidates[{position}].")
        for position, each in enumerate(request.candidates)
    )
    if checks.violations:
        return InvalidArgument(checks.violations)
    return Reserve(
        key=key,
        fingerprint=request.fingerprint,
        operation=request.operation,
        candidates=candidates,
        hold_duration=dt.timedelta(seconds=seconds, microseconds=nanos // 1000),
        price_version=request.price_version,
    )


def parse_settle(
    request: pb.Settlement | accounting_pb2.BookedSettlement, path: str
) -> Settle | ServiceError:
    """Returns the operation, or what is wrong with this member."""
    checks = Checks(path)
    key = _parse_key(checks, request.org, request.call_id)
    checks.integer("revision", request.revision, minimum=1, maximum=INT32_MAX)
    checks.integer("total_nanos", request.total_nanos, minimum=0, maximum=AMOUNT_MAX)
    if checks.violations:
        return InvalidArgument(checks.violations)
    return Settle(key=key, revision=request.revision, total_nanos=request.total_nanos)


def parse_release(request: pb.CallKey, path: str) -> Release | ServiceError:
    """Returns the operation, or what is wrong with this member."""
    key = parse_call_key(request, path)
    return key if isinstance(key, ServiceError) else Release(key=key)


def parse_call_key(request: pb.CallKey, path: str) -> CallKey | ServiceError:
    """Returns the call's identity, or what is wrong with this member."""
    checks = Checks(path)
    key = _parse_key(checks, request.org, request.call_id)
    return InvalidArgument(checks.violations) if checks.violations else key


def render_reservation(outcome: Outcome | BaseException) -> pb.ReservationResult:
    """Renders what was decided for a call that wants to start."""
    match outcome:
        case Held():
            return pb.ReservationResult(hold=render_hold(outcome.reservation, outcome.replayed))
        case Denied():
            return pb.ReservationResult(denial=_render_denial(outcome))
        case Ended():
            return pb.ReservationResult(ended=_render_ended(outcome))
        case _:
            return pb.ReservationResult(error=render_error(outcome))


def render_end(outcome: Outcome | BaseException) -> pb.EndResult:
    """Renders the state after a settlement or release."""
    if isinstance(outcome, Ended):
        return pb.EndResult(ended=_render_ended(outcome))
    return pb.EndResult(error=render_error(outcome))


def render_hold(reservation: Reservation, replayed: bool) -> pb.Hold:
    """Renders a hold as it was admitted."""
    return pb.Hold(
        candidate=call_pb2.Candidate(provider=reservation.provider, model=reservation.model),
        held_nanos=reservation.held_nanos,
        admit_time=render_time(reservation.admit_time),
        expire_time=render_time(reservation.expire_time),
        price_version=reservation.price_version,
        breaker_epoch=reservation.breaker_epoch,
        operation=reservation.operation,
        replayed=replayed,
    )


def render_error(outcome: Outcome | BaseException) -> call_pb2.CallError:
    """Renders why one member failed."""
    match outcome:
        case IdReused():
            error: ServiceError = AlreadyExists(
                "the call's id is known with other fields", call_id=str(outcome.key.call_id)
            )
        case NotExpired() | Held() | Denied() | Ended():
            raise TypeError(outcome)
        case Exception():
            error = translate(outcome)
        case _:
            raise outcome
    return error.to_member_error()


def render_time(instant: dt.datetime) -> Timestamp:
    """Renders an instant, exact to the microsecond."""
    microseconds = (instant - _EPOCH) // _MICROSECOND
    seconds, rest = divmod(microseconds, 1_000_000)
    return Timestamp(seconds=seconds, nanos=rest * 1000)


_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND: Final = dt.timedelta(microseconds=1)


def _parse_key(checks: Checks, org: str, call_id: str) -> CallKey:
    return CallKey(
        checks.text("org", org, max_length=64, pattern=NAME), checks.uuid("call_id", call_id)
    )


def _parse_candidate(checks: Checks, request: pb.CandidateHold, path: str) -> Candidate:
    candidate = request.candidate
    checks.text(f"{path}candidate.provider", candidate.provider, max_length=64, pattern=NAME)
    checks.text(f"{path}candidate.model", candidate.model, max_length=128, pattern=MODEL)
    checks.integer(f"{path}cost_nanos", request.cost_nanos, minimum=0, maximum=AMOUNT_MAX)
    checks.integer(f"{path}breaker_epoch", request.breaker_epoch, minimum=0, maximum=INT64_MAX)
    return Candidate(
        candidate.provider, candidate.model, request.cost_nanos, request.breaker_epoch
    )


def _render_ended(outcome: Ended) -> pb.Ended:
    return pb.Ended(
        state=pb.ReservationState.ValueType(outcome.state.value),
        settled_nanos=outcome.settled_nanos,
    )


def _render_denial(denied: Denied) -> denial_pb2.Denial:
    denial = denial_pb2.Denial(
        reason=denial_pb2.DenialReason.ValueType(denied.reason.value),
        violations=[_render_violation(each) for each in denied.violations],
        retry_kind=denial_pb2.RetryKind.ValueType(denied.retry_kind.value),
        message=denied.message,
    )
    if denied.retry_delay is not None:
        denial.retry_delay.FromTimedelta(denied.retry_delay)
    return denial


def _render_violation(violation: Violation) -> denial_pb2.Violation:
    return denial_pb2.Violation(
        limit_id=violation.limit.limit_id,
        owner=violation.limit.owner,
        metric=limit_pb2.Metric.ValueType(violation.limit.metric.value),
        scope=dict(violation.scope),
        cap=violation.limit.cap,
        settled=violation.settled,
        held=violation.held,
        requested=violation.requested,
        excess=violation.excess,
        reset_time=render_time(violation.reset_time),
        candidate=call_pb2.Candidate(
            provider=violation.candidate.provider, model=violation.candidate.model
        ),
    )
