"""Toggles: protobuf ⇄ domain, and the validation of every field."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from chassis import paging
from chassis.checks import Checks
from headgate.api.common.v1 import toggle_pb2
from headgate.api.health.v1 import health_pb2 as pb
from services.health.domain.kills import ChangeNote
from services.health.domain.toggles import (
    DEFAULT,
    RULE_COUNT_MAX,
    TOGGLE_COUNT_MAX,
    Place,
    Toggle,
)
from services.health.toggle_store import ToggleChange
from services.health.wire_breakers import (
    ACTOR_LENGTH_MAX,
    INT64_MAX,
    NAME_LENGTH_MAX,
    ORG,
    TEXT_LENGTH_MAX,
    render_time,
)

_Order = pb.PutToggleRequest | pb.DeleteToggleRequest | pb.ApplyTogglesRequest

NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class ToggleOrder:
    """Somebody's order about a toggle."""

    toggle_id: str
    place: Place
    note: ChangeNote
    # Version that the toggle must have. None: any.
    expected_version: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePage:
    """Which part of the history is asked for."""

    toggle_id: str
    before: int
    size: int


def parse_toggle_order(request: pb.PutToggleRequest | pb.DeleteToggleRequest) -> ToggleOrder:
    """Returns the order. Raises InvalidArgument."""
    checks = Checks()
    order = ToggleOrder(
        toggle_id=_check_name(checks, "toggle_id", request.toggle_id),
        place=_parse_place(checks, "", request.org, request.operation),
        note=_parse_note(checks, request),
        expected_version=(
            request.expected_version if request.HasField("expected_version") else None
        ),
    )
    if isinstance(request, pb.PutToggleRequest):
        checks.text("description", request.description, min_length=0, max_length=TEXT_LENGTH_MAX)
    checks.raise_if_any()
    return order


def parse_apply(request: pb.ApplyTogglesRequest) -> tuple[list[Toggle], ChangeNote]:
    """Returns toggles as they shall be, and who says so. Raises InvalidArgument."""
    checks, deleted = Checks(), request.deleted_toggle_ids
    if not 1 <= len(request.toggles) + len(deleted) <= TOGGLE_COUNT_MAX:
        checks.violate("toggles", f"send 1 to {TOGGLE_COUNT_MAX}, the deleted ones included")
        checks.raise_if_any()
    wanted, members = [], []
    for position, message in enumerate(request.toggles):
        path = f"toggles[{position}]"
        wanted.append(_parse_toggle(checks, f"{path}.", message))
        members.append((f"{path}.toggle_id", message.toggle_id))
    for position, toggle_id in enumerate(deleted):
        path = f"deleted_toggle_ids[{position}]"
        members.append((path, _check_name(checks, path, toggle_id)))
    checks.distinct(members)
    note = _parse_note(checks, request)
    checks.raise_if_any()
    return wanted, note


def parse_change_page(request: pb.ListToggleChangesRequest) -> ChangePage:
    """Returns which part of the history is asked for. Raises InvalidArgument."""
    checks = Checks()
    if request.toggle_id:
        _check_name(checks, "toggle_id", request.toggle_id)
    checks.raise_if_any()
    cursor = paging.decode_token(
        request.page_token, list="toggle-changes", toggle=request.toggle_id
    )
    before = cursor[0] if cursor is not None else INT64_MAX
    if not isinstance(before, int):
        raise AssertionError("a token of ours holds what we put in")
    return ChangePage(
        toggle_id=request.toggle_id, before=before, size=paging.page_size(request.page_size)
    )


def render_toggle(toggle: Toggle) -> toggle_pb2.Toggle:
    """Renders a toggle with its rules."""
    return toggle_pb2.Toggle(
        toggle_id=toggle.toggle_id,
        description=toggle.description,
        enabled=toggle.enabled,
        locked=toggle.locked,
        deleted=toggle.deleted,
        shipped=toggle.shipped,
        change_time=render_time(toggle.change_time),
        version=toggle.version,
        rules=[
            toggle_pb2.ToggleRule(org=org, operation=operation, enabled=enabled)
            for (org, operation), enabled in sorted(toggle.rules.items())
        ],
    )


def render_changes(
    changes: Sequence[ToggleChange], page: ChangePage
) -> pb.ListToggleChangesResponse:
    """Renders a page of the history; one more than the page's size means that it goes on."""
    shown = changes[: page.size]
    token = ""
    if len(changes) > page.size:
        token = paging.encode_token(
            (shown[-1].change_id,), list="toggle-changes", toggle=page.toggle_id
        )
    return pb.ListToggleChangesResponse(changes=map(_render_change, shown), next_page_token=token)


def _render_change(change: ToggleChange) -> toggle_pb2.ToggleChange:
    org, operation = change.place
    return toggle_pb2.ToggleChange(
        toggle_id=change.toggle_id,
        org=org,
        operation=operation,
        before=change.before,
        after=change.after,
        actor=change.actor,
        reason=change.reason,
        change_time=render_time(change.change_time),
    )


def _check_name(checks: Checks, field: str, value: str) -> str:
    return checks.text(field, value, max_length=NAME_LENGTH_MAX, pattern=NAME)


def _parse_toggle(checks: Checks, path: str, message: toggle_pb2.Toggle) -> Toggle:
    if len(message.rules) > RULE_COUNT_MAX:
        checks.violate(f"{path}rules", f"has {len(message.rules)}; at most {RULE_COUNT_MAX}")
        return Toggle(toggle_id=message.toggle_id)
    rules: dict[Place, bool] = {}
    for position, rule in enumerate(message.rules):
        at = f"{path}rules[{position}]"
        place = _parse_place(checks, f"{at}.", rule.org, rule.operation)
        if place in rules or place == DEFAULT:
            checks.violate(at, "name an org, an operation or both, each place once")
        rules[place] = rule.enabled
    return Toggle(
        toggle_id=_check_name(checks, f"{path}toggle_id", message.toggle_id),
        description=checks.text(
            f"{path}description", message.description, min_length=0, max_length=TEXT_LENGTH_MAX
        ),
        enabled=message.enabled,
        rules=rules,
    )


def _parse_place(checks: Checks, path: str, org: str, operation: str) -> Place:
    bounds = {"min_length": 0, "max_length": NAME_LENGTH_MAX}
    return (
        checks.text(f"{path}org", org, pattern=ORG, **bounds),
        checks.text(f"{path}operation", operation, pattern=NAME, **bounds),
    )


def _parse_note(checks: Checks, request: _Order) -> ChangeNote:
    return ChangeNote(
        reason=checks.text("reason", request.reason, max_length=TEXT_LENGTH_MAX),
        actor=checks.text("actor", request.actor, max_length=ACTOR_LENGTH_MAX),
        audit_id=checks.text("audit_id", request.audit_id, max_length=NAME_LENGTH_MAX),
    )
