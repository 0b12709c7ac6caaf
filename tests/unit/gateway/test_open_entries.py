"""What becomes of entries whose outcome was lost."""

from __future__ import annotations

import pytest

from gateway.access import RULES
from gateway.admin.open_entries import ALWAYS_STORED, NEVER_STORED, OUTCOME_UNKNOWN, conclude
from gateway.audit_store import OpenEntry


def entry(action: str, audit_id: str = "a") -> OpenEntry:
    return OpenEntry(audit_id=audit_id, action=action)


@pytest.mark.parametrize("action", ["PutLimit", "Reprice"])
def test_what_a_service_has_stored_is_done_however_old_it_is(action: str) -> None:
    opened = [entry(action), entry(action, "b")]

    assert conclude(opened, [], {"a"}) == {"a": None}
    assert conclude(opened, opened[:1], {"a"}) == {"a": None}


def test_what_is_always_stored_and_is_not_has_failed_in_the_end() -> None:
    opened = [entry("PutLimit")]

    assert conclude(opened, [], set()) == {}
    assert conclude(opened, opened, set()) == {"a": NEVER_STORED}


def test_what_may_leave_no_trace_is_unknown() -> None:
    opened = [entry("Reprice"), entry("ReconcileBill", "b")]

    assert conclude(opened, opened, set()) == dict.fromkeys("ab", OUTCOME_UNKNOWN)


def test_what_is_always_stored_is_a_method() -> None:
    assert {method.rpartition("/")[2] for method in RULES} >= ALWAYS_STORED
