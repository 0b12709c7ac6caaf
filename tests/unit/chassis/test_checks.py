from __future__ import annotations

import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.checks import Checks
from chassis.errors import InvalidArgument

ID = uuid.UUID("01890a5d-ac96-774b-bcce-b302099a8057")
SLUG = re.compile(r"[a-z-]+")


def described(checks: Checks) -> str:
    """The only violation's description."""
    (violation,) = checks.violations
    return violation.description


def test_all_violations_are_found_in_one_pass_and_named_by_their_paths() -> None:
    checks = Checks("calls[3].")
    checks.text("operation", "", max_length=5)
    checks.uuid("call_id", "x")
    checks.integer("count", -1, minimum=0, maximum=10)
    checks.choice("mode", 0, allowed={1, 2})
    checks.violate("labels", "send fewer")
    with pytest.raises(InvalidArgument) as caught:
        checks.raise_if_any()

    assert [violation.field for violation in caught.value.violations] == [
        "calls[3].operation",
        "calls[3].call_id",
        "calls[3].count",
        "calls[3].mode",
        "calls[3].labels",
    ]


def test_values_that_are_right_are_returned() -> None:
    checks = Checks()

    assert checks.text("a", "a b", max_length=3) == "a b"
    assert checks.text("a", "", max_length=3, min_length=0, pattern=SLUG) == ""
    assert checks.text("a", "a-b", max_length=3, pattern=SLUG) == "a-b"
    assert checks.text("a", "\u200bä", max_length=3) == "\u200bä"
    assert checks.uuid("b", str(ID)) == ID
    assert checks.uuid("b", str(ID).upper()) == ID
    assert checks.integer("c", 0, minimum=0, maximum=0) == 0
    assert checks.choice("d", 2, allowed={1, 2}) == 2
    checks.raise_if_any()


@pytest.mark.parametrize(
    ("value", "fix"),
    [
        ("", "required: it must not be empty"),
        ("a", "at least 2 characters"),
        ("abcdef", "has 6 characters; at most 5 are allowed"),
        (" ab", "remove the spaces"),
        ("ab\n", "remove the spaces"),
        ("a\x00b", "remove the control characters"),
        ("a\ud800b", "remove the control characters"),
        ("AB", "must match [a-z-]+"),
    ],
)
def test_a_wrong_text_names_its_fix(value: str, fix: str) -> None:
    checks = Checks()
    checks.text("field", value, min_length=2, max_length=5, pattern=SLUG)

    assert fix in described(checks)


@pytest.mark.parametrize(
    "value",
    ["", "x", "{01890a5d-ac96-774b-bcce-b302099a8057}", "01890a5dac96774bbcceb302099a8057"]
    + [f"urn:uuid:{ID}", f"{ID}\n"],
)
def test_only_the_text_form_of_an_id_is_one(value: str) -> None:
    checks = Checks()
    checks.uuid("call_id", value)

    assert "send a UUID such as" in described(checks)
    assert described(checks).startswith("required") is (value == "")


@pytest.mark.parametrize("value", [0, 11])
def test_a_number_beyond_its_bounds_names_them(value: int) -> None:
    checks = Checks()
    checks.integer("count", value, minimum=1, maximum=10)

    assert described(checks) == "must be from 1 to 10"


def test_an_enum_is_required_and_known() -> None:
    unset, unknown = Checks(), Checks()
    unset.choice("mode", 0, allowed={1})
    unknown.choice("mode", 7, allowed={1})

    assert described(unset).startswith("required")
    assert described(unknown) == "7 is no value that this server knows"


@given(st.text(max_size=40))
def test_a_text_that_passes_can_be_stored_and_shown(value: str) -> None:
    checks = Checks()
    checks.text("field", value, min_length=0, max_length=20)
    if not checks.violations:
        assert len(value) <= 20
        assert value == value.strip()
        assert "\x00" not in value
        assert value.encode().decode() == value


@given(st.uuids())
def test_every_id_passes(value: uuid.UUID) -> None:
    checks = Checks()

    assert checks.uuid("call_id", str(value)) == value
    assert checks.violations == []
