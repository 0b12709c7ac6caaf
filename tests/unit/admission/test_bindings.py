"""Which limits decide on a call: patterns over all dimensions, overrides, validity, modes."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.admission.domain.bindings import LimitSet
from services.admission.domain.fences import Fence, Fences
from services.admission.domain.limits import (
    Limit,
    Metric,
    Mode,
    Priority,
    Shares,
    is_dimension,
    ordered,
    with_caller,
)
from services.admission.domain.windows import IntervalWindow, TotalWindow

NOON = dt.datetime(2026, 5, 17, 12, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
CALL = {
    "org": "acme",
    "user": "ann",
    "operation": "chat",
    "model": "m",
    "label.ticket": "T-1",
    "label.k": "1",
}


def make_limit(limit_id: str, scope: dict[str, str], **fields: Any) -> Limit:
    defaults: dict[str, Any] = {"metric": Metric.COST, "window": TotalWindow(), "cap": 10}
    return Limit(limit_id=limit_id, scope=ordered(scope), **defaults | fields)


def decide(*limits: Limit, call: dict[str, str] = CALL, at: dt.datetime = NOON) -> list[str]:
    binding = LimitSet(version=1, limits=limits).bind(call, at)
    return sorted(bound.limit.limit_id for bound in binding.bounds)


@pytest.mark.parametrize(
    ("scopes", "winner"),
    [
        # More concrete values win.
        ({"a": {"org": "*", "user": "*"}, "b": {"org": "acme", "user": "*"}}, "b"),
        ({"a": {"org": "acme", "user": "ann"}, "b": {"org": "acme", "user": "*"}}, "a"),
        # Of as many, the earlier dimension.
        ({"a": {"org": "*", "user": "ann"}, "b": {"org": "acme", "user": "*"}}, "b"),
        ({"a": {"user": "*", "label.k": "1"}, "b": {"user": "ann", "label.k": "*"}}, "b"),
        # A value that is another's matches nothing.
        ({"a": {"org": "globex"}, "b": {"org": "*"}}, "b"),
    ],
)
def test_the_most_specific_decides(scopes: dict[str, dict[str, str]], winner: str) -> None:
    limits = [make_limit(name, scope) for name, scope in scopes.items()]
    assert decide(*limits) == decide(*reversed(limits)) == [winner]


def test_every_set_of_dimensions_decides_by_itself() -> None:
    orgs: list[dict[str, str]] = [{}, {"org": "*"}]
    scopes = [*orgs, {"model": "m"}, {"label.ticket": "*"}, {"ip": "*"}]
    limits = [make_limit(str(number), scope) for number, scope in enumerate(scopes)]
    # The call has no address.
    assert decide(*limits) == ["0", "1", "2", "3"]


def test_an_override_shares_the_counter_and_other_patterns_do_not() -> None:
    limits = LimitSet(
        version=1,
        limits=[make_limit("a", {"org": "*"}), make_limit("b", {"org": "*", "model": "*"})],
    )
    override = LimitSet(version=2, limits=[make_limit("c", {"org": "acme"}, cap=1)])
    ids = {bound.limit.limit_id: bound.key.counter_id for bound in limits.bind(CALL, NOON).bounds}
    (bound,) = override.bind(CALL, NOON).bounds
    assert bound.key.counter_id == ids["a"] != ids["b"]


def test_a_temporary_limit_goes_before_a_lasting_one_while_it_is_valid() -> None:
    lasting = make_limit("lasting", {"org": "acme"})
    boost = make_limit("boost", {"org": "acme"}, cap=99, start=NOON, end=NOON + HOUR)
    for at, winner in (
        (NOON - HOUR, "lasting"),
        (NOON, "boost"),
        (NOON + HOUR, "lasting"),
    ):
        assert decide(lasting, boost, at=at) == [winner]
        binding = LimitSet(version=1, limits=[lasting, boost]).bind(CALL, at)
        # The binding must not outlive the moment at which the other one decides.
        assert not binding.valid_from <= NOON - HOUR < NOON < binding.valid_until
        assert not binding.valid_from <= NOON < NOON + HOUR < binding.valid_until


def test_a_limit_that_is_off_leaves_its_place_to_the_default() -> None:
    default = make_limit("default", {"org": "*"})
    assert decide(default, make_limit("off", {"org": "acme"}, mode=Mode.OFF)) == ["default"]


def test_an_interval_applies_between_its_ends() -> None:
    window = IntervalWindow(start=NOON, end=NOON + HOUR)
    limits = LimitSet(version=1, limits=[make_limit("campaign", {}, window=window)])
    for at, count in ((NOON - HOUR, 0), (NOON, 1), (NOON + HOUR, 0)):
        binding = limits.bind(CALL, at)
        assert len(binding.bounds) == count
        assert binding.valid_from <= at < binding.valid_until
    assert limits.bind(CALL, NOON - HOUR).valid_until == NOON
    assert limits.bind(CALL, NOON).valid_until == NOON + HOUR


def test_what_matches_is_told_the_most_specific_first() -> None:
    orgs = {"a": "*", "b": "acme", "c": "x"}
    limits = LimitSet(
        version=1, limits=[make_limit(name, {"org": org}) for name, org in orgs.items()]
    )
    assert [[each.limit_id for each in found] for found in limits.matching(CALL)] == [["b", "a"]]
    assert list(limits.matching({})) == []


def test_only_dimensions_that_limits_name_tell_calls_apart() -> None:
    limits = LimitSet(version=1, limits=[make_limit("a", {"org": "*", "label.ticket": "*"})])
    assert limits.project(CALL) == limits.project({**CALL, "user": "bob"}) == ("acme", "T-1")
    assert limits.project({"org": "acme"}) == ("acme", None)


NAMES = st.sampled_from(("org", "user", "operation", "model"))
VALUES = st.sampled_from(("*", "acme", "ann", "chat", "m", "other"))


@settings(deadline=None)
@given(scopes=st.lists(st.dictionaries(NAMES, VALUES), max_size=12), data=st.data())
def test_binding_agrees_with_looking_at_every_limit(
    scopes: list[dict[str, str]], data: st.DataObject
) -> None:
    unique = {tuple(sorted(scope.items())): str(number) for number, scope in enumerate(scopes)}
    limits = [make_limit(name, dict(scope)) for scope, name in unique.items()]
    shuffled = data.draw(st.permutations(limits))

    def concreteness(limit: Limit) -> tuple[int, list[bool]]:
        flags = [value != "*" for _, value in limit.scope]
        return sum(flags), flags

    expected = set()
    for shape in {limit.shape for limit in limits}:
        matching = [
            limit
            for limit in limits
            if limit.shape == shape
            and all(n in CALL and v in ("*", CALL[n]) for n, v in limit.scope)
        ]
        if matching:
            expected.add(max(matching, key=concreteness).limit_id)
    assert set(decide(*shuffled)) == expected


@pytest.mark.parametrize(
    ("given_values", "caller"),
    [
        ({"user": "ann", "session": "s", "ip": "192.0.2.7"}, "user:ann"),
        ({"session": "s", "ip": "192.0.2.7"}, "session:s"),
        ({"ip": "192.0.2.7"}, "ip:192.0.2.7"),
        ({"team": "t"}, None),
    ],
)
def test_the_caller_is_the_first_that_is_known(
    given_values: dict[str, str], caller: str | None
) -> None:
    assert with_caller(given_values).get("caller") == caller


def test_labels_are_dimensions_if_they_have_a_key() -> None:
    assert [is_dimension(name) for name in ("org", "label.a", "label.", "labels", "")] == [
        True, True, False, False, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("priority", "usable"),
    [(Priority.CRITICAL, 11), (Priority.DEFAULT, 5), (Priority.SHEDDABLE, 2)],
)
def test_priorities_share_a_cap(priority: Priority, usable: int) -> None:
    shares = Shares(default_percent=50, sheddable_percent=20)
    assert make_limit("a", {}, cap=11, shares=shares).usable_caps[priority] == usable


def test_a_fence_covers_what_has_all_its_values_until_it_lifts_itself() -> None:
    fence = Fence(
        fence_id="f",
        sequence=1,
        active=True,
        scope=ordered({"org": "acme", "model": "m"}),
        expire_time=NOON + HOUR,
    )
    fences = Fences([fence])
    assert fences.find(CALL, NOON) is fence
    assert fences.find({**CALL, "model": "n"}, NOON) is None
    assert fences.find({"org": "acme"}, NOON) is None
    assert fences.find(CALL, NOON + HOUR) is None
