"""Orders about breakers, and their history: protobuf ⇄ domain, and the validation of fields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from chassis import paging
from chassis.checks import Checks
from headgate.api.common.v1 import health_pb2 as common_pb2
from headgate.api.health.v1 import health_pb2 as pb
from services.health.circuit_rows import Move
from services.health.domain.breakers import Breaker, Forced, Key
from services.health.domain.kills import ChangeNote
from services.health.wire_breakers import (
    ACTOR_LENGTH_MAX,
    BREAKER_STATES,
    INT32_MAX,
    INT64_MAX,
    NAME_LENGTH_MAX,
    OVERRIDES,
    TEXT_LENGTH_MAX,
    check_provider,
    parse_way,
    render_time,
)

_FORCED: Final = {value: forced for forced, value in OVERRIDES.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerOrder:
    """Somebody's order about a breaker."""

    key: Key
    forced: Forced
    note: ChangeNote


@dataclass(frozen=True, slots=True, kw_only=True)
class MovePage:
    """Which part of the history is asked for."""

    provider: str
    before: int
    size: int


def parse_order(request: pb.SetBreakerRequest) -> BreakerOrder:
    """Returns the order. Raises InvalidArgument."""
    checks = Checks()
    way = parse_way(checks, request.provider, request.model, request.credential)
    if way.model and way.credential:
        checks.violate("credential", "not together with a model: they have breakers of their own")
    if request.override not in _FORCED:
        checks.violate("override", f"{request.override} is no value that this server knows")
    note = ChangeNote(
        reason=checks.text("reason", request.reason, max_length=TEXT_LENGTH_MAX),
        actor=checks.text("actor", request.actor, max_length=ACTOR_LENGTH_MAX),
        audit_id=checks.text("audit_id", request.audit_id, max_length=NAME_LENGTH_MAX),
    )
    checks.raise_if_any()
    return BreakerOrder(
        key=Key(provider=way.provider, model=way.model, credential=way.credential),
        forced=_FORCED[request.override],
        note=note,
    )


def parse_move_page(request: pb.ListBreakerMovesRequest) -> MovePage:
    """Returns which part of the history is asked for. Raises InvalidArgument."""
    checks = Checks()
    if request.provider:
        check_provider(checks, request.provider)
    checks.raise_if_any()
    cursor = paging.decode_token(request.page_token, list="moves", provider=request.provider)
    before = cursor[0] if cursor is not None else INT64_MAX
    if not isinstance(before, int):
        raise AssertionError("a token of ours holds what we put in")
    return MovePage(
        provider=request.provider, before=before, size=paging.page_size(request.page_size)
    )


def render_moves(moves: Sequence[Move], page: MovePage) -> pb.ListBreakerMovesResponse:
    """Renders a page of the history; one more move than the page's size means that it goes on."""
    shown = moves[: page.size]
    token = ""
    if len(moves) > page.size:
        token = paging.encode_token((shown[-1].move_id,), list="moves", provider=page.provider)
    return pb.ListBreakerMovesResponse(moves=map(_render_move, shown), next_page_token=token)


def render_forced(breaker: Breaker) -> pb.SetBreakerResponse:
    """Renders a breaker after an order."""
    return pb.SetBreakerResponse(
        state=BREAKER_STATES[breaker.state],
        epoch=breaker.epoch,
        override=OVERRIDES[breaker.forced],
    )


def _render_move(move: Move) -> common_pb2.BreakerMove:
    return common_pb2.BreakerMove(
        provider=move.key.provider,
        model=move.key.model,
        credential=move.key.credential,
        epoch=move.epoch,
        before=BREAKER_STATES[move.before],
        after=BREAKER_STATES[move.after],
        override=OVERRIDES[move.forced],
        cause=move.cause.value,
        consecutive_failure_count=min(move.failure_count, INT32_MAX),
        probe_time=render_time(move.open_until),
        actor=move.actor,
        reason=move.reason,
        move_time=render_time(move.move_time),
    )
