"""Protobuf → domain: operations on calls. Validation with field paths."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from google.protobuf.duration_pb2 import Duration

from chassis.checks import Checks
from chassis.errors import InvalidArgument, ServiceError
from headgate.api.accounting.v1 import accounting_pb2
from headgate.api.admission.v1 import admission_pb2 as pb
from services.admission.domain.calls import (
    CallKey,
    Candidate,
    Extend,
    Release,
    Reserve,
    Settle,
    WriteOff,
)
from services.admission.domain.limits import AMOUNT_MAX, Priority, is_dimension, with_caller

BATCH_SIZE_MAX: Final = 256
CANDIDATE_COUNT_MAX: Final = 4
HOLD_SECONDS_MAX: Final = 86_400
NANOS_PER_SECOND: Final = 1_000_000_000
TOKEN_COUNT_MAX: Final = 10**12
ADAPTIVE_PERCENT_MAX: Final = 1_000
DIMENSION_COUNT_MAX: Final = 16
# They have fields of their own, or follow from others.
GIVEN_DIMENSIONS: Final = frozenset({"org", "operation", "provider", "model", "caller"})
FINGERPRINT_SIZE: Final = 32
NAME_LENGTH_MAX: Final = 64
MODEL_LENGTH_MAX: Final = 128
VALUE_LENGTH_MAX: Final = 128
INT32_MAX: Final = 2**31 - 1
INT64_MAX: Final = 2**63 - 1
# Also what the gateway lets through: letters of any script are refused in names that go in keys.
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# Values of the other dimensions: printable ASCII without spaces.
VALUE: Final = re.compile(r"[!-~]+")
MODEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]*")
PRIORITY_MAX: Final = max(Priority)
# By the contract's number: looked up for every call, which costs a tenth of calling the enum.
_PRIORITIES: Final = (Priority.DEFAULT, *sorted(Priority))
# Paths of a candidate's fields, by its position.
_CANDIDATE_FIELDS: Final = tuple(
    (
        f"candidates[{position}].candidate.provider",
        f"candidates[{position}].candidate.model",
        f"candidates[{position}].cost_nanos",
        f"candidates[{position}].breaker_epoch",
        f"candidates[{position}].token_count",
    )
    for position in range(CANDIDATE_COUNT_MAX)
)


def check_batch(field: str, count: int) -> None:
    """Raises InvalidArgument unless a batch has 1 to 256 members."""
    checks = Checks()
    checks.integer(f"{field}.length", count, minimum=1, maximum=BATCH_SIZE_MAX)
    checks.raise_if_any()


def parse_reserve(request: pb.ReservationRequest, path: str) -> Reserve | ServiceError:
    """Returns the operation, or what is wrong with this member."""
    checks = Checks(path)
    # Reading a field of a message costs, so each is read once.
    fingerprint, price_version = request.fingerprint, request.price_version
    priority, adaptive_percent = request.priority, request.adaptive_percent
    messages, dimensions = request.candidates, request.dimensions
    key = _parse_key(checks, request.org, request.call_id)
    operation = _read_name(checks, "operation", request.operation)
    if len(fingerprint) != FINGERPRINT_SIZE:
        checks.violate("fingerprint", f"send the {FINGERPRINT_SIZE} bytes of a SHA-256")
    hold_duration = parse_hold_duration(checks, request.hold_duration)
    checks.integer("price_version", price_version, minimum=0, maximum=INT64_MAX)
    checks.integer("candidates.length", len(messages), minimum=1, maximum=CANDIDATE_COUNT_MAX)
    candidates = tuple(
        [
            _parse_candidate(checks, each, fields)
            for each, fields in zip(messages, _CANDIDATE_FIELDS, strict=False)
        ]
    )
    named = parse_dimensions(checks, dimensions)
    checks.integer("priority", priority, minimum=0, maximum=PRIORITY_MAX)
    checks.integer("adaptive_percent", adaptive_percent, minimum=0, maximum=ADAPTIVE_PERCENT_MAX)
    if checks.violations:
        return InvalidArgument(checks.violations)
    return Reserve(
        key,
        fingerprint,
        operation,
        candidates,
        hold_duration,
        price_version,
        named,
        _PRIORITIES[priority],
        adaptive_percent,
    )


def parse_settle(
    request: pb.Settlement | accounting_pb2.BookedSettlement, path: str
) -> Settle | ServiceError:
    """Returns the operation, or what is wrong with this member."""
    checks = Checks(path)
    key = _parse_key(checks, request.org, request.call_id)
    checks.integer("revision", request.revision, minimum=1, maximum=INT32_MAX)
    checks.integer("total_nanos", request.total_nanos, minimum=0, maximum=AMOUNT_MAX)
    token_count = None
    if request.HasField("token_count"):
        token_count = checks.integer(
            "token_count", request.token_count, minimum=0, maximum=TOKEN_COUNT_MAX
        )
    if checks.violations:
        return InvalidArgument(checks.violations)
    return Settle(
        key=key,
        revision=request.revision,
        total_nanos=request.total_nanos,
        token_count=token_count,
    )


def parse_extend(request: pb.Extension, path: str) -> Extend | ServiceError:
    """Returns the operation, or what is wrong with this member."""
    checks = Checks(path)
    key = _parse_key(checks, request.org, request.call_id)
    hold_duration = parse_hold_duration(checks, request.hold_duration)
    dimensions = parse_dimensions(checks, request.dimensions)
    if checks.violations:
        return InvalidArgument(checks.violations)
    return Extend(key=key, hold_duration=hold_duration, dimensions=dimensions)


def parse_write_off(
    order: pb.WriteOffRequest, request: pb.CallKey, path: str
) -> WriteOff | ServiceError:
    """Returns the operation, or what is wrong with this member."""
    key = parse_call_key(request, path)
    if isinstance(key, ServiceError):
        return key
    return WriteOff(key=key, audit_id=order.audit_id, reason=order.reason)


def check_write_off(request: pb.WriteOffRequest) -> None:
    """Raises InvalidArgument unless the order says why."""
    checks = Checks()
    checks.text("reason", request.reason, max_length=1024)
    checks.text("audit_id", request.audit_id, min_length=0, max_length=64, pattern=NAME)
    checks.raise_if_any()


def parse_release(request: pb.CallKey, path: str) -> Release | ServiceError:
    """Returns the operation, or what is wrong with this member."""
    key = parse_call_key(request, path)
    return key if isinstance(key, ServiceError) else Release(key=key)


def parse_call_key(request: pb.CallKey, path: str) -> CallKey | ServiceError:
    """Returns the call's identity, or what is wrong with this member."""
    checks = Checks(path)
    key = _parse_key(checks, request.org, request.call_id)
    return InvalidArgument(checks.violations) if checks.violations else key


def parse_hold_duration(checks: Checks, duration: Duration) -> dt.timedelta:
    """Returns how long a hold is to live."""
    seconds, nanos = duration.seconds, duration.nanos
    checks.integer("hold_duration", seconds, minimum=1, maximum=HOLD_SECONDS_MAX)
    checks.integer("hold_duration", nanos, minimum=0, maximum=NANOS_PER_SECOND - 1)
    # What is wrong is refused; it only must not overflow here.
    return _duration(min(seconds, HOLD_SECONDS_MAX), nanos // 1000)


@lru_cache(maxsize=256)
def _duration(seconds: int, microseconds: int) -> dt.timedelta:
    return dt.timedelta(seconds=seconds, microseconds=microseconds)


def parse_dimensions(checks: Checks, values: Mapping[str, str]) -> dict[str, str]:
    """Returns the further dimensions of a call, "caller" among them."""
    # Reading a map of a message costs as well.
    given = dict(values)
    if not given:
        return given
    checks.integer("dimensions.length", len(given), minimum=0, maximum=DIMENSION_COUNT_MAX)
    for name, value in given.items():
        if not _can_be_given(name):
            checks.violate("dimensions", f"{name[:64]!r} is no dimension that can be given here")
        if len(value) > VALUE_LENGTH_MAX or VALUE.fullmatch(value) is None:
            field = f"dimensions[{name[:64]}]"
            checks.text(field, value, max_length=VALUE_LENGTH_MAX, pattern=VALUE)
    return with_caller(given)


def _parse_key(checks: Checks, org: str, call_id: str) -> CallKey:
    return CallKey(_read_name(checks, "org", org), checks.uuid("call_id", call_id))


def _read_name(checks: Checks, field: str, value: str) -> str:
    if len(value) <= NAME_LENGTH_MAX and _is_name(value):
        return value
    return checks.text(field, value, max_length=NAME_LENGTH_MAX, pattern=NAME)


# The same few in nearly every call: to remember them costs a third of matching.
@lru_cache(maxsize=16_384)
def _is_name(value: str) -> bool:
    return NAME.fullmatch(value) is not None


@lru_cache(maxsize=256)
def _can_be_given(dimension: str) -> bool:
    return (
        dimension not in GIVEN_DIMENSIONS
        and is_dimension(dimension)
        and NAME.fullmatch(dimension) is not None
    )


def _parse_candidate(
    checks: Checks, request: pb.CandidateHold, fields: tuple[str, str, str, str, str]
) -> Candidate:
    candidate = request.candidate
    parsed = Candidate(
        candidate.provider,
        candidate.model,
        request.cost_nanos,
        request.breaker_epoch,
        request.token_count,
    )
    if not _is_sound(parsed):
        provider, model, cost_nanos, breaker_epoch, token_count = fields
        _read_name(checks, provider, parsed.provider)
        checks.text(model, parsed.model, max_length=MODEL_LENGTH_MAX, pattern=MODEL)
        checks.integer(cost_nanos, parsed.cost_nanos, minimum=0, maximum=AMOUNT_MAX)
        checks.integer(breaker_epoch, parsed.breaker_epoch, minimum=0, maximum=INT64_MAX)
        checks.integer(token_count, parsed.token_count, minimum=0, maximum=TOKEN_COUNT_MAX)
    return parsed


def _is_sound(candidate: Candidate) -> bool:
    """Tells in one look what nearly all candidates are; the checks say what is wrong."""
    provider, model, cost_nanos, breaker_epoch, token_count = candidate
    return (
        len(provider) <= NAME_LENGTH_MAX
        and len(model) <= MODEL_LENGTH_MAX
        and _is_name(provider)
        and _is_model(model)
        and 0 <= cost_nanos <= AMOUNT_MAX
        and breaker_epoch >= 0
        and 0 <= token_count <= TOKEN_COUNT_MAX
    )


@lru_cache(maxsize=16_384)
def _is_model(value: str) -> bool:
    return MODEL.fullmatch(value) is not None
