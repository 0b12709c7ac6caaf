"""The checker of breakers finds each lie that is planted in a history that is true."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest

from tests.guarantees.breakers.checker import Call, Rules, check
from tests.guarantees.breakers.evidence import Evidence, Key, Lease, Turn

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
KEY = Key("openai")
RULES = Rules(
    probe_count_max=2,
    probe_successes=1,
    failure_threshold=3,
    half_open_max=dt.timedelta(seconds=10),
    end=START + dt.timedelta(seconds=100),
    slack=dt.timedelta(0),
)


def at(seconds: float) -> dt.datetime:
    return START + dt.timedelta(seconds=seconds)


def turn(seconds: float, state: str, epoch: int, key: Key = KEY) -> Turn:
    return Turn(
        key=key, state=state, epoch=epoch, last_epoch=epoch, failure_count=0, at=at(seconds)
    )


def lease(name: str, start: float, end: float, *, epoch: int = 2) -> Lease:
    return Lease(key=KEY, org="acme", call_id=name, epoch=epoch, start=at(start), end=at(end))


def call(name: str, epoch: int, ended: float | None, *, succeeded: bool | None) -> Call:
    return Call(
        org="acme",
        call_id=name,
        provider="openai",
        model="gpt",
        epoch=epoch,
        admit_time=START,
        succeeded=succeeded,
        report_time=None if ended is None else at(ended),
    )


# Three failures open it; one probe fails, two run at once, one of them succeeds.
TURNS = [
    turn(1, "closed", 0),
    turn(3, "open", 1),
    turn(10, "half-open", 2),
    turn(11, "open", 3),
    turn(20, "half-open", 4),
    turn(22, "closed", 5),
    turn(23, "closed", 5),
]
LEASES = [
    lease("p1", 10, 11),
    lease("p2", 20, 30, epoch=4),
    lease("p3", 20.5, 22, epoch=4),
]
CALLS = [
    *(call(f"f{number}", 0, 2, succeeded=False) for number in range(3)),
    call("p1", 2, 10.9, succeeded=False),
    call("p2", 4, None, succeeded=None),
    call("p3", 4, 21.9, succeeded=True),
    call("late", 0, 40, succeeded=False),
]


def find(
    calls: list[Call] | None = None,
    turns: list[Turn] | None = None,
    leases: list[Lease] | None = None,
    rules: Rules = RULES,
) -> list[str]:
    evidence = Evidence(
        turns=TURNS if turns is None else turns, leases=LEASES if leases is None else leases
    )
    return check(CALLS if calls is None else calls, evidence, rules)


def test_a_true_history_has_no_finding() -> None:
    assert find() == []
    assert find([], [], []) == []


def test_one_probe_too_many_is_found() -> None:
    third = lease("p4", 21, 25, epoch=4)
    (finding,) = find(leases=[*LEASES, third])
    assert finding.startswith("3 probes at once")


def test_a_probe_that_begins_when_another_ends_is_none_too_many() -> None:
    assert find(leases=[*LEASES, lease("p4", 22, 25, epoch=4)]) == []


@pytest.mark.parametrize(
    ("number", "changed", "text"),
    [
        (4, turn(20, "half-open", 2), "an epoch went back"),
        (6, turn(23, "closed", 6), "state and epoch do not change together"),
        (3, turn(11, "open", 2), "state and epoch do not change together"),
        (2, turn(10, "closed", 2), "a way that there is not"),
        (6, replace(TURNS[6], last_epoch=4), "an epoch went back"),
    ],
)
def test_a_history_that_can_not_be_is_found(number: int, changed: Turn, text: str) -> None:
    turns = [changed if each is TURNS[number] else each for each in TURNS]
    assert any(text in each for each in find(turns=turns))


def test_an_epoch_of_two_breakers_is_found() -> None:
    other = turn(4, "open", 1, key=Key("openai", "gpt"))
    findings = find(turns=[*TURNS[:2], other, *TURNS[2:]])
    assert any("used twice" in each for each in findings)


@pytest.mark.parametrize(
    ("name", "changed", "text"),
    [
        # Of an older epoch, too late, or no failure at all.
        ("f0", {"report_time": at(4)}, "opened by 2 failures"),
        ("f0", {"succeeded": True}, "opened by 2 failures"),
        ("p1", {"succeeded": True}, "opened again though no probe failed"),
        ("p1", {"report_time": at(12)}, "opened again though no probe failed"),
        ("p3", {"succeeded": False}, "closed by"),
        ("p3", {"report_time": None, "succeeded": None}, "closed by"),
    ],
)
def test_a_change_without_its_reason_is_found(
    name: str, changed: dict[str, object], text: str
) -> None:
    calls = [
        replace(each, **changed) if each.call_id == name else each  # type: ignore[arg-type]
        for each in CALLS
    ]
    (finding,) = find(calls)
    assert finding.startswith(text)


def test_failures_of_an_older_epoch_open_nothing() -> None:
    again = [*TURNS, turn(50, "open", 6), turn(60, "half-open", 7), turn(61, "closed", 8)]
    old = [call(f"o{number}", 4, 45, succeeded=False) for number in range(3)]
    probe, leased = call("p9", 7, 60.5, succeeded=True), lease("p9", 60, 61, epoch=7)
    told = [lease(each.call_id, 20, 20.1, epoch=4) for each in old]

    findings = find([*CALLS, *old, probe], again, [*LEASES, leased, *told])

    assert [each for each in findings if "opened by 0 failures" in each]


def test_failures_of_an_older_epoch_are_not_counted() -> None:
    own = [call("n", 5, 24, succeeded=False)]
    assert find([*CALLS, *own], [*TURNS, replace(turn(25, "closed", 5), failure_count=1)]) == []
    (finding,) = find([*CALLS, *own], [*TURNS, replace(turn(25, "closed", 5), failure_count=2)])
    assert finding.startswith("counted more failures than the 1")


def test_a_success_of_an_older_epoch_closes_nothing() -> None:
    leases = [replace(each, epoch=2) for each in LEASES]
    assert any("closed by []" in each for each in find(leases=leases))


def test_a_call_past_an_open_breaker_that_it_knew_of_is_found() -> None:
    (finding,) = find([*CALLS, call("x", 3, None, succeeded=None)])
    assert finding.startswith("admitted past an open breaker")


def test_a_call_that_knew_nothing_of_it_is_none() -> None:
    assert find([*CALLS, call("x", 0, None, succeeded=None)]) == []


def test_a_probe_without_a_lease_is_found() -> None:
    (finding,) = find([*CALLS, call("x", 4, None, succeeded=None)])
    assert finding.startswith("a probe without a lease")


def test_half_open_for_ever_is_found() -> None:
    findings = find(turns=TURNS[:5])
    assert [each.partition(":")[0] for each in findings] == [
        "never closed again",
        "stuck half-open for 0",
    ]


def test_half_open_for_too_long_is_found_unless_something_was_wrong() -> None:
    turns = [*TURNS[:5], turn(45, "closed", 5)]
    assert any("stuck half-open" in each for each in find(turns=turns))
    rules = replace(RULES, outages=[(at(25), at(38))])
    assert find(turns=turns, rules=rules) == []
