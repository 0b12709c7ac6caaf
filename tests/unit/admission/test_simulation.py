"""Limits tried on the past: what they would have denied."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

from services.admission.domain.bindings import LimitSet
from services.admission.domain.calls import CallKey, Candidate, Reserve
from services.admission.domain.fences import Fence
from services.admission.domain.limits import Limit, Metric, ordered
from services.admission.domain.simulation import PastCall, Simulation
from services.admission.domain.windows import OpenWindow
from tests.unit.admission.bookkeeping import NOON
from tests.unit.admission.kinds import SECOND, make_limit


def make_past(number: int, *, at: int, seconds: int = 10, **fields: Any) -> PastCall:
    held, cost, org = fields.get("held", 10), fields.get("cost", 5), fields.get("org", "acme")
    call = Reserve(
        key=CallKey(org, uuid.UUID(int=number)),
        fingerprint=b"",
        operation="chat",
        candidates=(Candidate("p", "m", held, 0, 0),),
        hold_duration=dt.timedelta(seconds=seconds),
        price_version=0,
    )
    admit_time = NOON + at * SECOND
    return PastCall(call, admit_time, admit_time + seconds * SECOND, cost, None)


def replay(limits: list[Limit], *calls: PastCall) -> Simulation:
    simulation = Simulation(LimitSet(version=0, limits=limits))
    simulation.replay(calls)
    return simulation


def told(simulation: Simulation) -> dict[tuple[str, str], tuple[int, int]]:
    return {key: (each.count, each.avoided_nanos) for key, each in simulation.denials.items()}


def test_calls_hold_while_they_ran_and_cost_what_they_cost() -> None:
    limit = make_limit("cost", Metric.COST, 20)
    # Two run at once and hold 20; the third comes when both have ended at 5 each.
    found = replay(
        [limit],
        make_past(1, at=0),
        make_past(2, at=1),
        make_past(3, at=2),
        make_past(4, at=11),
        make_past(5, at=12, held=11),
    )
    assert found.replayed_count == 5
    assert told(found) == {("cost", "acme"): (2, 10)}
    assert (found.total.count, found.total.avoided_nanos) == (2, 10)


def test_each_limit_and_org_is_told_by_itself() -> None:
    limits = [
        make_limit("calls", Metric.CALLS, 1),
        make_limit("open", Metric.CONCURRENCY, 1, window=OpenWindow(), scope=()),
    ]
    found = replay(
        limits,
        make_past(1, at=0, org="acme"),
        make_past(2, at=1, org="globex"),
        make_past(3, at=60, org="globex"),
        make_past(4, at=120, org="acme", cost=7),
    )
    assert told(found) == {
        ("open", "globex"): (1, 5),
        ("calls", "acme"): (1, 7),
    }


def test_periods_roll_in_the_past_too() -> None:
    limit = make_limit("day", Metric.CALLS, 1, scope=ordered({"org": "*"}))
    day = 86_400
    calls = [make_past(number, at=number * day // 2) for number in range(4)]
    # At noon and at midnight, twice: the second day has two, as has the third.
    assert told(replay([limit], *calls)) == {("day", "acme"): (1, 5)}


def test_what_is_no_limit_denies_nothing_on_record() -> None:
    simulation = Simulation(
        LimitSet(version=0, fences=[Fence(fence_id="f", sequence=1, active=True)])
    )
    simulation.replay([make_past(1, at=0)])
    assert told(simulation) == {}
    assert simulation.total.count == 1
