"""API keys between the contract and the gateway's own values."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.checks import Checks
from gateway import wire
from gateway.key_store import KeyRecord, WantedKey
from gateway.principals import Role
from headgate.api.gateway.v1 import admin_pb2 as pb

NAME_LENGTH_MAX: Final = 128
KEY_ID_LENGTH_MAX: Final = 32
ORG_COUNT_MAX: Final = 64
OPERATION_COUNT_MAX: Final = 64
OVERLAP_SECONDS_DEFAULT: Final = 86_400.0
OVERLAP_SECONDS_MAX: Final = 30 * 86_400
# No key is made for longer, and no time beyond fits every client's calendar.
LIFETIME_DAYS_MAX: Final = 36_525
_NANOS_PER_SECOND: Final = 1_000_000_000
_SECONDS_PER_DAY: Final = 86_400

ROLES: Final = {
    pb.ROLE_BACKEND: Role.BACKEND,
    pb.ROLE_VIEWER: Role.VIEWER,
    pb.ROLE_EDITOR: Role.EDITOR,
    pb.ROLE_ADMIN: Role.ADMIN,
}
RENDERED_ROLES: Final = {role: number for number, role in ROLES.items()}


def parse_new_key(request: pb.CreateApiKeyRequest) -> WantedKey:
    """Checks a key to create. Raises InvalidArgument."""
    checks = Checks()
    checks.text("name", request.name, max_length=NAME_LENGTH_MAX)
    checks.choice("role", request.role, allowed=ROLES)
    is_backend = request.role == pb.ROLE_BACKEND
    if is_backend and not request.orgs:
        checks.violate("orgs", f"has 0; name 1 to {ORG_COUNT_MAX}")
    _check_names(checks, "orgs", request.orgs, ORG_COUNT_MAX)
    if request.operations and not is_backend:
        checks.violate("operations", "must be empty: only backends make calls")
    _check_names(checks, "operations", request.operations, OPERATION_COUNT_MAX)
    expire_time = None
    if request.HasField("expire_time"):
        expire_time = _read_end(checks, request.expire_time)
    checks.raise_if_any()
    return WantedKey(
        name=request.name,
        role=ROLES[request.role],
        orgs=tuple(request.orgs),
        operations=tuple(request.operations),
        expire_time=expire_time,
    )


def parse_key_id(request: pb.RevokeApiKeyRequest) -> str:
    """Returns a key's public part. Raises InvalidArgument."""
    checks = Checks()
    key_id = checks.text("key_id", request.key_id, max_length=KEY_ID_LENGTH_MAX)
    checks.raise_if_any()
    return key_id


def parse_rotation(request: pb.RotateApiKeyRequest) -> tuple[str, float]:
    """Returns a key's public part and the seconds for which it still works. Raises
    InvalidArgument.
    """
    checks = Checks()
    key_id = checks.text("key_id", request.key_id, max_length=KEY_ID_LENGTH_MAX)
    overlap = OVERLAP_SECONDS_DEFAULT
    if request.HasField("overlap"):
        overlap = _read_overlap(checks, request.overlap)
    checks.raise_if_any()
    return key_id, overlap


def parse_org(request: pb.ListApiKeysRequest) -> str:
    """Returns the org whose keys are wanted, or an empty text. Raises InvalidArgument."""
    checks = Checks()
    checks.text("org", request.org, min_length=0, max_length=wire.ORG_LENGTH_MAX, pattern=wire.ORG)
    checks.raise_if_any()
    return request.org


def render_key(key: KeyRecord) -> pb.ApiKey:
    """Renders a key without its secret."""
    return pb.ApiKey(
        key_id=key.key_id,
        name=key.name,
        role=RENDERED_ROLES[key.role],
        orgs=key.orgs,
        operations=key.operations,
        create_time=render_time(key.create_time),
        expire_time=render_time(key.expire_time),
        revoke_time=render_time(key.revoke_time),
        last_use_time=render_time(key.use_time),
        replaces=key.replaces or "",
    )


def render_time(instant: dt.datetime | None) -> Timestamp | None:
    """Renders an instant; None stays unset."""
    if instant is None:
        return None
    time = Timestamp()
    time.FromDatetime(instant)
    return time


def _check_names(checks: Checks, field: str, names: Sequence[str], count_max: int) -> None:
    if len(names) > count_max:
        checks.violate(field, f"has {len(names)}; at most {count_max}")
        return
    pattern, length = (
        (wire.ORG, wire.ORG_LENGTH_MAX)
        if field == "orgs"
        else (wire.NAME, wire.OPERATION_LENGTH_MAX)
    )
    for position, name in enumerate(names):
        checks.text(f"{field}[{position}]", name, max_length=length, pattern=pattern)
    if len(set(names)) < len(names):
        checks.violate(field, "names one twice; name each once")


def _read_end(checks: Checks, time: Timestamp) -> dt.datetime | None:
    """Returns when a key is to end. The database's clock decides later."""
    now = dt.datetime.now(dt.UTC)
    last = now.timestamp() + LIFETIME_DAYS_MAX * _SECONDS_PER_DAY
    if not 0 <= time.nanos < _NANOS_PER_SECOND or not now.timestamp() < time.seconds <= last:
        checks.violate("expire_time", "must be in the future, and at most 100 years away")
        return None
    return time.ToDatetime(tzinfo=dt.UTC)


def _read_overlap(checks: Checks, overlap: Duration) -> float:
    seconds = overlap.seconds + overlap.nanos / _NANOS_PER_SECOND
    if not 0 <= overlap.nanos < _NANOS_PER_SECOND or not 0 <= seconds <= OVERLAP_SECONDS_MAX:
        checks.violate("overlap", "must be a duration from 0 to 30 days")
    return seconds
