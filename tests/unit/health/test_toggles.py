"""What may be done to toggles, and what not to guardrails."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.health.domain import toggles
from services.health.domain.toggles import DEFAULT, GUARDRAILS, Toggle

NEW = Toggle(toggle_id="new-search", enabled=False)
SHIPPED = Toggle(toggle_id="notifications", shipped=True)
LOCKED = Toggle(toggle_id="fail-closed", locked=True, shipped=True)
ACME = ("acme", "")


def put(
    toggle: Toggle | None, place: tuple[str, str] = DEFAULT, *, enabled: bool = True
) -> Toggle:
    return toggles.put(toggle, "new-search", place, enabled=enabled, description="")


def test_only_a_default_makes_a_new_toggle() -> None:
    assert put(None, enabled=False) == NEW
    assert put(replace(NEW, deleted=True)).enabled
    with pytest.raises(toggles.UnknownToggleError):
        put(None, ACME)


def test_a_default_and_rules_are_set_by_themselves() -> None:
    described = toggles.put(NEW, "new-search", ACME, enabled=True, description="Searches anew.")

    assert described.rules == {ACME: True}
    assert (described.enabled, described.description) == (False, "Searches anew.")
    assert put(described).description == "Searches anew."
    assert put(described).rules == {ACME: True}
    assert put(described, ACME, enabled=False).rules == {ACME: False}


def test_rules_and_toggles_of_one_s_own_are_deleted() -> None:
    ruled = put(NEW, ACME)

    assert toggles.delete(ruled, ACME) == NEW
    assert toggles.delete(ruled, DEFAULT) == replace(NEW, deleted=True)


@pytest.mark.parametrize(
    ("toggle", "place", "error"),
    [
        (None, DEFAULT, toggles.UnknownToggleError),
        (replace(NEW, deleted=True), DEFAULT, toggles.UnknownToggleError),
        (NEW, ACME, toggles.UnknownToggleError),
        (SHIPPED, DEFAULT, toggles.ShippedToggleError),
        (LOCKED, DEFAULT, toggles.LockedToggleError),
    ],
)
def test_what_is_not_there_or_ours_is_not_deleted(
    toggle: Toggle | None, place: tuple[str, str], error: type[Exception]
) -> None:
    with pytest.raises(error):
        toggles.delete(toggle, place)


def test_a_guardrail_is_not_set() -> None:
    for place in (DEFAULT, ACME):
        with pytest.raises(toggles.LockedToggleError):
            put(LOCKED, place)


def test_there_are_only_so_many_rules() -> None:
    full = replace(NEW, rules={(str(n), ""): True for n in range(toggles.RULE_COUNT_MAX)})

    assert put(full, ("7", ""), enabled=False).rules["7", ""] is False
    with pytest.raises(toggles.TooManyError):
        put(full, ACME)


def test_the_history_tells_what_was_there() -> None:
    ruled = put(NEW, ACME)

    assert [toggles.value_at(ruled, at) for at in (DEFAULT, ACME, ("x", ""))] == [
        False,
        True,
        None,
    ]
    assert toggles.value_at(None, DEFAULT) is None
    assert toggles.value_at(replace(NEW, deleted=True), DEFAULT) is None


def test_a_guardrail_that_is_not_what_it_must_be_is_found() -> None:
    right = {
        name: Toggle(toggle_id=name, enabled=enabled, locked=True)
        for name, enabled in GUARDRAILS.items()
    }
    [name, *_] = right
    broken = [
        {key: each for key, each in right.items() if key != name},
        right | {name: replace(right[name], enabled=not right[name].enabled)},
        right | {name: replace(right[name], locked=False)},
        right | {name: replace(right[name], deleted=True)},
        right | {name: replace(right[name], rules={ACME: True})},
    ]

    assert toggles.broken_guardrails(right) == []
    assert [toggles.broken_guardrails(each) for each in broken] == [[name]] * len(broken)


@pytest.mark.parametrize(
    ("found", "expected", "fits"),
    [
        (None, None, True),
        (None, 0, True),
        (None, 3, False),
        (NEW, 0, True),
        (replace(NEW, version=3), None, True),
        (replace(NEW, version=3), 3, True),
        (replace(NEW, version=3), 2, False),
        (replace(NEW, version=3), 0, False),
        (replace(NEW, version=3, deleted=True), 3, False),
    ],
)
def test_a_change_may_ask_for_a_version(
    found: Toggle | None, expected: int | None, fits: bool
) -> None:
    if fits:
        toggles.expect(found, expected)
        return
    with pytest.raises(toggles.ChangedToggleError):
        toggles.expect(found, expected)


def test_a_set_changes_what_it_names_and_deletes_what_is_there() -> None:
    known = {each.toggle_id: each for each in (NEW, SHIPPED, LOCKED)}
    wanted = replace(NEW, enabled=True)

    assert toggles.apply(known, [wanted, LOCKED], []) == {
        "new-search": wanted,
        "fail-closed": LOCKED,
    }
    deleted = toggles.apply(known, [], ["new-search", "never-was"])
    assert [each.deleted for each in deleted.values()] == [True]
    assert toggles.apply({"new-search": deleted["new-search"]}, [], ["new-search"]) == {}


def test_a_set_changes_no_guardrail_and_is_bounded() -> None:
    with pytest.raises(toggles.LockedToggleError):
        toggles.apply(
            {LOCKED.toggle_id: LOCKED}, [replace(LOCKED, enabled=not LOCKED.enabled)], []
        )
    many = [Toggle(toggle_id=f"t{number}") for number in range(toggles.TOGGLE_COUNT_MAX + 1)]
    with pytest.raises(toggles.TooManyError):
        toggles.apply({}, many, [])
