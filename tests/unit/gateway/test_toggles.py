"""What is on for a call: the most specific rule decides."""

from __future__ import annotations

import pytest

from gateway.domain.toggles import Toggle, Why, is_off

RULES = {("acme", "chat"): True, ("acme", ""): False, ("", "chat"): False}
TOGGLE = Toggle(toggle_id="new-search", enabled=True, rules=RULES)


@pytest.mark.parametrize(
    ("org", "operation", "expected"),
    [
        ("acme", "chat", (True, Why.TARGETING_MATCH)),
        ("acme", "summarize", (False, Why.TARGETING_MATCH)),
        ("acme", "", (False, Why.TARGETING_MATCH)),
        ("globex", "chat", (False, Why.TARGETING_MATCH)),
        ("globex", "summarize", (True, Why.DEFAULT)),
        ("", "", (True, Why.DEFAULT)),
    ],
)
def test_the_most_specific_rule_decides(
    org: str, operation: str, expected: tuple[bool, Why]
) -> None:
    assert TOGGLE.evaluate(org=org, operation=operation) == expected


def test_a_guardrail_has_no_rules_whatever_is_told() -> None:
    locked = Toggle(toggle_id="fail-closed", enabled=True, locked=True, rules=RULES)

    assert locked.evaluate(org="acme", operation="x") == (True, Why.STATIC)


def test_a_toggle_that_nobody_has_told_of_is_on() -> None:
    plain = Toggle(toggle_id="x", enabled=True)

    assert not is_off(None, org="acme", operation="chat")
    assert not is_off(plain, org="acme", operation="chat")
    assert not is_off(TOGGLE, org="acme", operation="chat")
    assert is_off(TOGGLE, org="acme", operation="summarize")
    assert is_off(Toggle(toggle_id="x", enabled=False), org="acme", operation="chat")
