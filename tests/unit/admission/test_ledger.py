"""The decisions of admission on values, without a database."""

from __future__ import annotations

import datetime as dt
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.admission.domain.calls import (
    CallKey,
    DenialReason,
    Denied,
    Ended,
    Expire,
    Held,
    IdReused,
    NotExpired,
    Operation,
    Release,
    RetryKind,
    Settle,
    State,
)
from services.admission.domain.fences import Fence
from services.admission.domain.ids import UNDATED, day_of_id, id_day_of
from services.admission.domain.limits import Metric
from tests.unit.admission.bookkeeping import NOON, TTL, Bookkeeping, make_limit, make_reserve

FENCE = Fence(fence_id="platform", sequence=1, active=True, message="Stopped for the audit.")


def key(number: int, org: str = "acme") -> CallKey:
    return CallKey(org, uuid.UUID(int=number))


@pytest.fixture
def books() -> Bookkeeping:
    """An org with a cap of 100 nanos and of 10 calls, on a platform with a cap of 250 nanos."""
    return Bookkeeping(
        make_limit("cost", org="*", metric=Metric.COST, cap=100),
        make_limit("calls", org="*", metric=Metric.CALLS, cap=10),
        make_limit("platform", org=None, metric=Metric.COST, cap=250),
    )


def held_total(books: Bookkeeping) -> int:
    return sum(each.held for each in books.counters.values())


def test_a_call_holds_on_all_its_limits(books: Bookkeeping) -> None:
    (outcome,) = books.run(make_reserve(1, 40))
    assert isinstance(outcome, Held)
    assert not outcome.replayed
    assert sorted(each.held for each in books.counters.values()) == [1, 40, 40]
    books.check()


def test_exactly_cap_divided_by_cost_calls_fit(books: Bookkeeping) -> None:
    outcomes = books.run(*(make_reserve(number, 30) for number in range(8)))
    assert sum(isinstance(each, Held) for each in outcomes) == 100 // 30
    books.check()


def test_the_first_candidate_that_fits_is_taken(books: Bookkeeping) -> None:
    (outcome,) = books.run(make_reserve(1, 101, 100, 1))
    assert isinstance(outcome, Held)
    assert outcome.reservation.model == "model-1"
    assert outcome.reservation.held_nanos == 100


def test_a_denial_changes_nothing_and_names_each_violation(books: Bookkeeping) -> None:
    books.run(make_reserve(1, 90))
    before = held_total(books)
    (outcome,) = books.run(make_reserve(2, 260, 11))
    assert isinstance(outcome, Denied)
    assert outcome.reason is DenialReason.BUDGET_EXCEEDED
    named = [(each.limit.limit_id, each.candidate.model) for each in outcome.violations]
    assert sorted(named) == [("cost", "model-0"), ("cost", "model-1"), ("platform", "model-0")]
    assert {each.excess for each in outcome.violations} == {250, 100, 1}
    assert "owner of cost" in outcome.message
    assert held_total(books) == before
    assert key(2) not in books.reservations
    assert not books.last_changes


def test_rate_goes_before_budget(books: Bookkeeping) -> None:
    books.run(*(make_reserve(number, 1) for number in range(10)))
    (outcome,) = books.run(make_reserve(99, 1000))
    assert isinstance(outcome, Denied)
    assert outcome.reason is DenialReason.RATE_EXCEEDED


def test_retry_delays_tell_the_truth(books: Bookkeeping) -> None:
    (never,) = books.run(make_reserve(1, 101))
    assert isinstance(never, Denied)
    assert (never.wait.kind, never.wait.delay) == (RetryKind.NEVER, None)
    books.run(make_reserve(2, 100))
    (at_latest,) = books.run(make_reserve(3, 1))
    assert isinstance(at_latest, Denied)
    assert at_latest.wait.kind is RetryKind.AT_LATEST
    assert at_latest.wait.delay == dt.timedelta(hours=12)
    books.run(Settle(key(2), 1, 100))
    (at,) = books.run(make_reserve(4, 1))
    assert isinstance(at, Denied)
    assert at.wait.kind is RetryKind.AT
    books.now += dt.timedelta(hours=12)
    (outcome,) = books.run(make_reserve(5, 1))
    assert isinstance(outcome, Held)


def test_a_denial_is_not_sticky(books: Bookkeeping) -> None:
    books.run(make_reserve(1, 100))
    assert isinstance(books.run(make_reserve(2, 1))[0], Denied)
    books.run(Release(key(1)))
    assert isinstance(books.run(make_reserve(2, 1))[0], Held)


def test_replays_get_the_stored_hold_and_twice_in_a_batch_too(books: Bookkeeping) -> None:
    first, second = books.run(make_reserve(1, 40), make_reserve(1, 50))
    (third,) = books.run(make_reserve(1, 60))
    for replay in (second, third):
        assert isinstance(replay, Held)
        assert replay.replayed
        assert replay.reservation.held_nanos == 40
    assert isinstance(first, Held)
    books.check()


def test_an_id_with_other_fields_is_refused_in_every_state(books: Bookkeeping) -> None:
    other = make_reserve(1, 40, fingerprint=b"o" * 32)
    books.run(make_reserve(1, 40))
    assert isinstance(books.run(other)[0], IdReused)
    books.run(Settle(key(1), 1, 3))
    assert isinstance(books.run(other)[0], IdReused)
    assert books.run(make_reserve(1, 40)) == [Ended(State.SETTLED, 3)]


def test_another_orgs_id_is_another_call(books: Bookkeeping) -> None:
    books.run(make_reserve(1, 40))
    (outcome,) = books.run(make_reserve(1, 50, org="globex"))
    assert isinstance(outcome, Held)
    assert not outcome.replayed


def test_a_fence_denies_all_and_replays_too(books: Bookkeeping) -> None:
    books.run(make_reserve(1, 0))
    books.fence = FENCE
    for outcome in books.run(make_reserve(1, 0), make_reserve(2, 0)):
        assert isinstance(outcome, Denied)
        assert outcome.reason is DenialReason.FENCED
        assert outcome.message == "Stopped for the audit."
    # What was used is booked all the same.
    assert books.run(Settle(key(1), 1, 5)) == [Ended(State.SETTLED, 5)]


def test_a_silent_fence_still_says_something(books: Bookkeeping) -> None:
    books.fence = Fence(fence_id="platform", sequence=1, active=True, message="")
    (outcome,) = books.run(make_reserve(1, 0))
    assert isinstance(outcome, Denied)
    assert outcome.message


def test_settling_books_what_was_used_and_frees_the_rest(books: Bookkeeping) -> None:
    books.run(make_reserve(1, 40))
    assert books.run(Settle(key(1), 1, 15)) == [Ended(State.SETTLED, 15)]
    assert sorted(each.settled for each in books.counters.values()) == [1, 15, 15]
    assert held_total(books) == 0
    books.check()


def test_overrun_is_booked_and_buys_no_room(books: Bookkeeping) -> None:
    books.run(make_reserve(1, 40))
    books.run(Settle(key(1), 1, 130))
    assert sorted(each.overrun for each in books.counters.values()) == [0, 90, 90]
    assert isinstance(books.run(make_reserve(2, 1))[0], Denied)
    books.check()


def test_only_newer_revisions_count(books: Bookkeeping) -> None:
    books.run(make_reserve(1, 40))
    books.run(Settle(key(1), 2, 50))
    assert books.run(Settle(key(1), 2, 70), Settle(key(1), 1, 70)) == [
        Ended(State.SETTLED, 50),
        Ended(State.SETTLED, 50),
    ]
    assert books.run(Settle(key(1), 3, 20)) == [Ended(State.SETTLED, 20)]
    assert all(each.overrun == 0 for each in books.counters.values())
    books.check()


def test_expiry_charges_the_hold_until_the_report_comes(books: Bookkeeping) -> None:
    books.run(make_reserve(1, 40))
    assert books.run(Expire(key(1))) == [NotExpired()]
    books.now += TTL
    assert books.run(Expire(key(1))) == [Ended(State.EXPIRED, 40)]
    assert books.run(Expire(key(1)), Expire(key(2))) == [NotExpired(), NotExpired()]
    assert books.run(Settle(key(1), 1, 55)) == [Ended(State.LATE, 55)]
    assert sorted(each.overrun for each in books.counters.values()) == [0, 15, 15]
    books.check()


def test_a_release_gives_everything_back(books: Bookkeeping) -> None:
    books.run(make_reserve(1, 40))
    released = Ended(State.RELEASED, 0)
    assert books.run(Release(key(1)), Release(key(1))) == [released, released]
    assert all(each.held == each.settled == 0 for each in books.counters.values())


def test_a_report_after_release_is_overrun_in_full(books: Bookkeeping) -> None:
    books.run(make_reserve(1, 40), Release(key(1)))
    assert books.run(Settle(key(1), 1, 30)) == [Ended(State.LATE, 30)]
    assert sorted(each.overrun for each in books.counters.values()) == [1, 30, 30]
    assert books.run(Settle(key(1), 2, 10)) == [Ended(State.LATE, 10)]
    assert sorted(each.overrun for each in books.counters.values()) == [1, 10, 10]
    books.check()


@pytest.mark.parametrize("end", [Release(key(1)), Settle(key(1), 1, 30)])
def test_ending_an_unknown_id_leaves_a_tombstone(books: Bookkeeping, end: Operation) -> None:
    books.run(end)
    books.run(Settle(key(1), 2, 33))
    (outcome,) = books.run(make_reserve(1, 40))
    assert isinstance(outcome, Ended)
    assert outcome.settled_nanos == 33
    assert held_total(books) == 0


def test_admitted_and_ended_in_one_batch(books: Bookkeeping) -> None:
    books.run(make_reserve(1, 40), Settle(key(1), 1, 10), Settle(key(1), 2, 12))
    assert books.reservations[key(1)].state is State.SETTLED
    books.check()


OPERATIONS = st.one_of(
    st.builds(
        lambda number, costs, org: make_reserve(number, *costs, org=org),
        st.integers(0, 12),
        st.lists(st.integers(0, 120), min_size=1, max_size=3),
        st.sampled_from(["acme", "globex"]),
    ),
    st.builds(
        lambda number, revision, total, org: Settle(key(number, org), revision, total),
        st.integers(0, 12),
        st.integers(1, 3),
        st.integers(0, 150),
        st.sampled_from(["acme", "globex"]),
    ),
    st.builds(lambda number: Release(key(number)), st.integers(0, 12)),
    st.builds(lambda number: Expire(key(number)), st.integers(0, 12)),
)


@given(
    batches=st.lists(st.lists(OPERATIONS, max_size=6), max_size=12),
    caps=st.lists(st.integers(0, 200), min_size=1, max_size=12),
    steps=st.lists(st.integers(0, 90), min_size=1, max_size=12),
)
def test_books_add_up_after_every_batch(
    batches: list[list[Operation]], caps: list[int], steps: list[int]
) -> None:
    books = Bookkeeping()
    for position, batch in enumerate(batches):
        cap = caps[position % len(caps)]
        books.limits = [
            make_limit("cost", org="*", metric=Metric.COST, cap=cap),
            make_limit("calls", org="*", metric=Metric.CALLS, cap=7),
            make_limit("platform", org=None, metric=Metric.COST, cap=150),
        ]
        books.now += dt.timedelta(seconds=steps[position % len(steps)])
        books.run(*batch)
        books.check()


@given(numbers=st.permutations(range(6)))
def test_which_calls_come_first_changes_no_count(numbers: list[int]) -> None:
    books = Bookkeeping(make_limit("cost", org="*", metric=Metric.COST, cap=100))
    outcomes = books.run(*(make_reserve(number, 30) for number in numbers))
    assert sum(isinstance(each, Held) for each in outcomes) == 3


def test_days_come_from_version_7_ids_near_the_admission() -> None:
    milliseconds = int(NOON.timestamp() * 1000)
    dated = uuid.UUID(int=(milliseconds << 80) | (7 << 76) | (2 << 62))
    assert id_day_of(dated) == NOON.date()
    assert day_of_id(dated, NOON + dt.timedelta(days=1)) == NOON.date()
    assert day_of_id(dated, NOON + dt.timedelta(days=2)) == UNDATED
    assert id_day_of(uuid.UUID(int=1)) == UNDATED
    far = uuid.UUID(int=((2**48 - 1) << 80) | (7 << 76) | (2 << 62))
    assert id_day_of(far) == UNDATED
