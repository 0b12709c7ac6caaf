"""Toggles: what is on where, and who may change it: nobody, if it is a guardrail."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

# Guardrails and what they are. Health does not start on a schema where one is different.
GUARDRAILS: Final[Mapping[str, bool]] = {"fail-closed": True, "audit-trail": True}
TOGGLE_COUNT_MAX: Final = 1_000
RULE_COUNT_MAX: Final = 1_000

# Org and operation; either may be empty, not both.
Place = tuple[str, str]
DEFAULT: Final[Place] = ("", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Toggle:
    """A feature that is on or off."""

    toggle_id: str
    description: str = ""
    # Where no rule says otherwise.
    enabled: bool = True
    locked: bool = False
    # It came with the schema and is not deleted.
    shipped: bool = False
    deleted: bool = False
    rules: Mapping[Place, bool] = field(default_factory=dict)
    change_time: dt.datetime | None = None
    # Version of health's state in which watchers learnt of it.
    version: int = 0


# Decides about some toggles, knowing all.
Decide = Callable[[Mapping[str, Toggle]], Mapping[str, Toggle]]


class LockedToggleError(Exception):
    """A guardrail was to be changed."""

    def __init__(self, toggle_id: str) -> None:
        super().__init__(toggle_id)
        self.toggle_id = toggle_id


class UnknownToggleError(Exception):
    """There is no such toggle, or no such rule of it."""


class ShippedToggleError(Exception):
    """A toggle that came with the schema was to be deleted."""

    def __init__(self, toggle_id: str) -> None:
        super().__init__(toggle_id)
        self.toggle_id = toggle_id


class ChangedToggleError(Exception):
    """The toggle has another version than the one that was expected."""

    def __init__(self, version: int) -> None:
        super().__init__()
        self.version = version


class TooManyError(Exception):
    """There are as many toggles, or rules of one, as there may be."""


def put(
    toggle: Toggle | None, toggle_id: str, place: Place, *, enabled: bool, description: str
) -> Toggle:
    """Returns the toggle with its default, or a rule, set. Only a default makes a new toggle."""
    if toggle is None or toggle.deleted:
        if place != DEFAULT:
            raise UnknownToggleError
        return Toggle(toggle_id=toggle_id, description=description, enabled=enabled)
    if toggle.locked:
        raise LockedToggleError(toggle_id)
    changed = replace(toggle, description=description or toggle.description)
    if place == DEFAULT:
        return replace(changed, enabled=enabled)
    if place not in toggle.rules and len(toggle.rules) >= RULE_COUNT_MAX:
        raise TooManyError
    return replace(changed, rules={**toggle.rules, place: enabled})


def delete(toggle: Toggle | None, place: Place) -> Toggle:
    """Returns the toggle without a rule, or deleted as a whole."""
    if toggle is None or toggle.deleted:
        raise UnknownToggleError
    if toggle.locked:
        raise LockedToggleError(toggle.toggle_id)
    if place == DEFAULT:
        if toggle.shipped:
            raise ShippedToggleError(toggle.toggle_id)
        return replace(toggle, deleted=True, rules={})
    if place not in toggle.rules:
        raise UnknownToggleError
    return replace(toggle, rules={at: on for at, on in toggle.rules.items() if at != place})


def expect(found: Toggle | None, version: int | None) -> None:
    """Raises ChangedToggleError unless it has this version. None: any; 0: none, or as it came."""
    known = 0 if found is None or found.deleted else found.version
    if version not in (None, known):
        raise ChangedToggleError(known)


def apply(
    known: Mapping[str, Toggle], wanted: Iterable[Toggle], deleted: Iterable[str]
) -> dict[str, Toggle]:
    """Returns toggles as they are wanted, and others as deleted; those may be gone already."""
    after: dict[str, Toggle] = {}
    for toggle in wanted:
        before = known.get(toggle.toggle_id, Toggle(toggle_id=toggle.toggle_id))
        changed = replace(
            before,
            description=toggle.description,
            enabled=toggle.enabled,
            rules=toggle.rules,
            deleted=False,
        )
        if before.locked and changed != before:
            raise LockedToggleError(toggle.toggle_id)
        after[toggle.toggle_id] = changed
    for toggle_id in deleted:
        if toggle_id in known and not known[toggle_id].deleted:
            after[toggle_id] = delete(known[toggle_id], DEFAULT)
    if sum(not each.deleted for each in {**known, **after}.values()) > TOGGLE_COUNT_MAX:
        raise TooManyError
    return after


def changed_places(before: Toggle | None, after: Toggle) -> list[Place]:
    """Returns where a toggle says something else than before; its default, if nowhere."""
    old = {} if before is None else before.rules
    places = [DEFAULT] if after.deleted else [DEFAULT, *sorted({**old, **after.rules})]
    changed = [place for place in places if value_at(before, place) != value_at(after, place)]
    return changed or [DEFAULT]


def value_at(toggle: Toggle | None, place: Place) -> bool | None:
    """Returns what a toggle's default, or a rule, says. None: there is none."""
    if toggle is None or toggle.deleted:
        return None
    return toggle.enabled if place == DEFAULT else toggle.rules.get(place)


def broken_guardrails(toggles: Mapping[str, Toggle]) -> list[str]:
    """Returns the guardrails that are missing, open to change, or not what they must be."""
    return [
        name
        for name, enabled in GUARDRAILS.items()
        if (known := toggles.get(name)) is None
        or not known.locked
        or known.deleted
        or known.enabled is not enabled
        or known.rules
    ]
