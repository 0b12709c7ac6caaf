"""How limits bind: overrides, shared counters, validity of a binding."""

from __future__ import annotations

import datetime as dt

from services.admission.domain.bindings import LimitSet, counter_key
from services.admission.domain.calendars import Period
from services.admission.domain.fences import Fence, Fences
from services.admission.domain.limits import Limit, Metric
from services.admission.domain.windows import CalendarWindow

NOON = dt.datetime(2026, 5, 17, 12, tzinfo=dt.UTC)
DAY = CalendarWindow(period=Period.DAY)
MONTH = CalendarWindow(period=Period.MONTH)


def make_limit(
    limit_id: str,
    *,
    org: str | None = None,
    metric: Metric = Metric.COST,
    window: CalendarWindow = DAY,
    cap: int = 100,
) -> Limit:
    scope = () if org is None else (("org", org),)
    return Limit(limit_id=limit_id, scope=scope, metric=metric, window=window, cap=cap, owner="")


def make_set(*limits: Limit) -> LimitSet:
    return LimitSet(version=1, limits=limits, fences=())


def bound_ids(limits: LimitSet, org: str) -> set[str]:
    return {bound.limit.limit_id for bound in limits.bind({"org": org}, NOON).bounds}


def test_a_pattern_binds_every_org_on_first_sight() -> None:
    limits = make_set(make_limit("default", org="*"))
    first, second = (limits.bind({"org": org}, NOON).bounds[0] for org in ("acme", "globex"))
    assert first.limit == second.limit
    assert first.key.counter_id != second.key.counter_id


def test_an_override_changes_the_cap_and_not_the_counter() -> None:
    default, override = make_limit("default", org="*"), make_limit("acme", org="acme", cap=5)
    limits = make_set(default, override)
    assert bound_ids(limits, "acme") == {"acme"}
    assert bound_ids(limits, "globex") == {"default"}
    before = make_set(default).bind({"org": "acme"}, NOON).bounds[0].key
    assert limits.bind({"org": "acme"}, NOON).bounds[0].key.counter_id == before.counter_id
    # In whatever order they are listed.
    assert bound_ids(make_set(override, default), "acme") == {"acme"}


def test_other_metrics_and_windows_do_not_override() -> None:
    limits = make_set(
        make_limit("cost", org="*"),
        make_limit("calls", org="acme", metric=Metric.CALLS),
        make_limit("month", org="acme", window=MONTH),
        make_limit("platform"),
    )
    assert bound_ids(limits, "acme") == {"cost", "calls", "month", "platform"}


def test_a_limit_needs_the_dimensions_of_its_scope() -> None:
    limits = make_set(make_limit("org", org="*"), make_limit("platform"))
    assert [each.limit.limit_id for each in limits.bind({}, NOON).bounds] == ["platform"]


def test_platform_counters_are_locked_last() -> None:
    platform = counter_key(make_limit("platform"), {}, NOON)
    org = counter_key(make_limit("org", org="*"), {"org": "acme"}, NOON)
    assert org.rank < platform.rank
    assert (org.org, platform.org) == ("acme", "")


def test_a_binding_is_valid_until_the_first_of_its_periods_ends() -> None:
    binding = make_set(make_limit("day", org="*"), make_limit("m", window=MONTH)).bind(
        {"org": "acme"}, NOON
    )
    assert binding.valid_from == dt.datetime(2026, 5, 17, tzinfo=dt.UTC)
    assert binding.valid_until == dt.datetime(2026, 5, 18, tzinfo=dt.UTC)


def test_no_limits_bind_a_day_around() -> None:
    binding = make_set().bind({"org": "acme"}, NOON)
    assert binding.bounds == ()
    assert binding.valid_from < NOON < binding.valid_until


def test_cap_of_a_counter_is_the_one_in_force() -> None:
    limits = make_set(make_limit("default", org="*"), make_limit("acme", org="acme", cap=5))
    keys = {org: limits.bind({"org": org}, NOON).bounds[0].key for org in ("acme", "globex")}
    for org, limit_id in (("acme", "acme"), ("globex", "default")):
        limit = limits.limit_of(keys[org], NOON)
        assert limit is not None
        assert limit.limit_id == limit_id
    assert make_set().limit_of(keys["acme"], NOON) is None


def test_only_active_fences_stop() -> None:
    lifted = Fence(fence_id="a", sequence=2, active=False, message="")
    active = Fence(fence_id="b", sequence=1, active=True, message="stop")
    assert Fences([lifted]).find({}, NOON) is None
    assert Fences([lifted, active]).find({}, NOON) is active
