"""The nemesis' checker finds what it is there to find: one planted lie for each promise."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.guarantees.nemesis.books import Books, Open, State
from tests.guarantees.nemesis.checker import Rules, check
from tests.guarantees.nemesis.history import Action, Kind
from tests.guarantees.nemesis.rates import Bucket, Concurrency, Rate, Rolling, check_rates
from tests.guarantees.nemesis.story import (
    CAP,
    DAY,
    HOLD,
    NOON,
    ORG,
    RULES,
    SECOND,
    Story,
    admission,
    denial,
    make_story,
)


def lose_admission(story: Story) -> None:
    del story.ended["lost"]
    story.counter = replace(story.counter, settled=45)


def lose_report(story: Story) -> None:
    del story.usage["settled"]


def lose_release(story: Story) -> None:
    del story.ended["released"]


def drop_report(story: Story) -> None:
    story.change("settled", state=State.RELEASED, settled_nanos=0, hold_returned=True)
    story.counter = replace(story.counter, settled=30, overrun=0)


def settle_twice(story: Story) -> None:
    story.ended["settled again"] = story.ended["settled"]


def invent_report(story: Story) -> None:
    story.change("lost", state=State.LATE)


def end_otherwise(story: Story) -> None:
    story.answer("release", finished={"state": "FINISHED_STATE_EXPIRED"})


def return_hold_twice(story: Story) -> None:
    story.counter = replace(story.counter, settled=15)


def hold_on(story: Story) -> None:
    row = story.ended.pop("lost")
    story.open.append(
        Open(
            org=ORG,
            call_id="lost",
            held_nanos=30,
            admit_time=row.admit_time,
            expire_time=row.expire_time,
            counter_ids=(DAY,),
        )
    )


def free_early(story: Story) -> None:
    story.change("lost", end_time=story.ended["lost"].expire_time - SECOND)


def free_late(story: Story) -> None:
    story.change("lost", end_time=story.ended["lost"].expire_time + 3 * SECOND)


def forget_extension(story: Story) -> None:
    later = story.ended["lost"].expire_time + SECOND
    story.repeat("lost", action=Action.EXTEND, facts={"expire_time": later.isoformat()})


def overspend(story: Story) -> None:
    # It was admitted before the released call gave its room back.
    early = NOON + 10 * SECOND
    story.change("lost", admit_time=early, expire_time=early + HOLD)


def raise_high_cap(story: Story) -> None:
    story.counter = replace(story.counter, high_cap=CAP + 1)


def admit_twice(story: Story) -> None:
    story.repeat("lost", facts={"decision": {"admission": admission(31, NOON)}})


def admit_first_twice(story: Story) -> None:
    story.repeat("lost")


def admit_other_fields(story: Story) -> None:
    facts = {"decision": {"admission": admission(30, NOON + 20 * SECOND) | {"replayed": True}}}
    story.repeat("lost", request={"input": 2}, facts=facts)


def book_twice(story: Story) -> None:
    story.usage["again"] = story.usage["settled"]


def refuse_report(story: Story) -> None:
    story.repeat("report", kind=Kind.FAIL, facts={"code": "NOT_FOUND"})


def deny_what_fits(story: Story) -> None:
    story.answer("denied", decision={"denial": denial(settled="10", excess="15")})


def deny_by_an_old_cap(story: Story) -> None:
    story.answer("denied", decision={"denial": denial(cap="99", excess="16")})


def promise_too_early(story: Story) -> None:
    story.answer("denied", decision={"denial": denial() | {"retry_delay": "3600s"}})


def promise_hope(story: Story) -> None:
    facts = denial(requested="101", excess="76")
    story.answer("denied", decision={"denial": facts})


def charge_another_day(story: Story) -> None:
    row = story.ended["settled"]
    story.change("settled", admit_time=row.admit_time - dt.timedelta(days=1))


PLANTED: list[tuple[int, Callable[[Story], None]]] = [
    (1, overspend),
    (1, raise_high_cap),
    (2, deny_what_fits),
    (2, deny_by_an_old_cap),
    (4, return_hold_twice),
    (5, drop_report),
    (5, settle_twice),
    (5, invent_report),
    (5, end_otherwise),
    (6, hold_on),
    (6, free_early),
    (6, free_late),
    (6, forget_extension),
    (7, admit_twice),
    (7, admit_first_twice),
    (7, admit_other_fields),
    (7, book_twice),
    (7, refuse_report),
    (8, lose_admission),
    (8, lose_report),
    (8, lose_release),
    (9, charge_another_day),
    (10, promise_too_early),
    (10, promise_hope),
]


def run_check(story: Story, rules: Rules = RULES) -> set[int]:
    return {
        each.guarantee for each in check(list(story.operations.values()), story.books(), rules)
    }


def test_a_true_story_has_no_finding() -> None:
    assert run_check(make_story()) == set()


@pytest.mark.parametrize(
    ("guarantee", "plant"), PLANTED, ids=[plant.__name__ for _, plant in PLANTED]
)
def test_a_lie_is_found(guarantee: int, plant: Callable[[Story], None]) -> None:
    story = make_story()
    plant(story)
    assert guarantee in run_check(story)


def test_an_outage_excuses_a_late_end_and_no_later_one() -> None:
    story = make_story()
    expired = story.ended["lost"].expire_time
    rules = replace(RULES, outages=[(expired + SECOND, expired + 10 * SECOND)])
    story.change("lost", end_time=expired + 12 * SECOND)
    assert run_check(story, rules) == set()
    story.change("lost", end_time=expired + 13 * SECOND)
    assert run_check(story, rules) == {6}


def make_calls(*seconds: float) -> Books:
    """Calls of one org that hold 10 nanos, admitted at these times and settled a second later."""
    known = make_story().ended["settled"]
    ended = tuple(
        replace(
            known,
            call_id=str(number),
            held_nanos=10,
            admit_time=NOON + second * SECOND,
            expire_time=NOON + second * SECOND + HOLD,
            end_time=NOON + second * SECOND + SECOND,
        )
        for number, second in enumerate(seconds)
    )
    return Books(counters=(), ended=ended, open=(), usage=(), caps=())


@pytest.mark.parametrize(
    ("rate", "kept", "broken"),
    [
        (Rolling(org=ORG, cap=2, seconds=5), (0, 1, 5), (0, 1, 4.999)),
        (Bucket(org=ORG, burst=20, rate=10), (0, 0, 1), (0, 0, 0.999)),
        (Concurrency(org=ORG, cap=2), (0, 0.5, 1), (0, 0.5, 0.999)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_rate_that_was_broken_is_found(
    rate: Rate, kept: tuple[float, ...], broken: tuple[float, ...]
) -> None:
    assert list(check_rates(make_calls(*kept), [rate])) == []
    assert list(check_rates(make_calls(*broken), [rate])) != []
