"""Shared calls between the contract and the gateway's own values."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from chassis.checks import Checks
from gateway import wire
from gateway.domain.calls import Candidate
from gateway.domain.estimates import HOLD_NANOS_MAX
from gateway.principals import Principal
from headgate.api.gateway.v1 import gateway_pb2 as pb

KEY_LENGTH_MAX: Final = 256
SESSION_LENGTH_MAX: Final = 128
ANSWER_BYTES_MAX: Final = 1_048_576


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What makes calls identical."""

    org: str
    operation: str
    session: str
    digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Share:
    """What a leading call leaves to those who wait."""

    call: Shared
    call_id: str
    # None: nothing, another one may lead.
    content: bytes | None
    cost_nanos: int
    candidate: Candidate | None


def parse_join(request: pb.JoinCallRequest, who: Principal) -> tuple[Shared, str]:
    """Returns what is asked and by which call. Raises InvalidArgument, NotFound."""
    checks = Checks()
    call = _read_call(checks, request.call, who)
    call_id = wire.read_id(checks, "call_id", request.call_id)
    return _finish(checks, call, who), call_id


def parse_wait(request: pb.AwaitAnswerRequest, who: Principal) -> tuple[Shared, str, str]:
    """Returns what is asked, by which call and of which. Raises InvalidArgument, NotFound."""
    checks = Checks()
    call = _read_call(checks, request.call, who)
    call_id = wire.read_id(checks, "call_id", request.call_id)
    leader = wire.read_id(checks, "leader_call_id", request.leader_call_id)
    if call_id == leader:
        checks.violate("leader_call_id", "must be another call than the one that waits")
    return _finish(checks, call, who), call_id, leader


def parse_share(request: pb.ShareAnswerRequest, who: Principal) -> Share:
    """Returns what is shared. Raises InvalidArgument, NotFound."""
    checks = Checks()
    call = _read_call(checks, request.call, who)
    call_id = wire.read_id(checks, "call_id", request.call_id)
    cost_nanos = checks.integer(
        "cost_nanos", request.cost_nanos, minimum=0, maximum=HOLD_NANOS_MAX
    )
    content, candidate = None, None
    if request.HasField("answer"):
        content = request.answer
        candidate = wire.read_candidate(checks, "candidate", request.candidate)
        if len(content) > ANSWER_BYTES_MAX:
            checks.violate("answer", f"has {len(content)} bytes; at most {ANSWER_BYTES_MAX}")
    return Share(
        call=_finish(checks, call, who),
        call_id=call_id,
        content=content,
        cost_nanos=cost_nanos,
        candidate=candidate,
    )


def _read_call(checks: Checks, call: pb.SharedCall, who: Principal) -> Shared:
    org = wire.read_org(checks, call.org, who)
    operation = checks.text(
        "call.operation", call.operation, max_length=wire.OPERATION_LENGTH_MAX, pattern=wire.NAME
    )
    key = checks.text("call.key", call.key, max_length=KEY_LENGTH_MAX)
    session = checks.text(
        "call.session", call.session, min_length=0, max_length=SESSION_LENGTH_MAX
    )
    among = "all" if call.across_sessions else f"session {session}"
    name = "\0".join((org, operation, among, key))
    digest = hashlib.sha256(name.encode()).digest()
    return Shared(org=org, operation=operation, session=session, digest=digest)


def _finish(checks: Checks, call: Shared, who: Principal) -> Shared:
    checks.raise_if_any()
    wire.require_org(call.org, who)
    wire.require_operation(call.operation, who)
    return call
