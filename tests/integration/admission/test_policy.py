"""Changes of limits: they bind from the next call on, on every replica, and are logged."""

from __future__ import annotations

import pytest

from chassis.database import Connection
from chassis.errors import AlreadyExists, NotFound
from services.admission.books import Books
from services.admission.domain.calendars import Period
from services.admission.domain.calls import Denied, Held, Settle
from services.admission.domain.limits import Limit, Metric
from services.admission.domain.windows import CalendarWindow
from services.admission.engine import Engine
from services.admission.policy import Policy
from tests.integration.admission.replicas import (
    Start,
    assert_books,
    make_limit,
    make_reserve,
    put_limit,
)


async def test_a_change_binds_the_next_call_on_every_replica(start: Start) -> None:
    one, two = await start("one"), await start("two")
    assert isinstance(await two.reservations.submit(make_reserve(50)), Held)
    await put_limit(one, make_limit("acme-day", cap=60))
    denied = await two.reservations.submit(make_reserve(50))
    assert isinstance(denied, Denied)
    assert [each.limit.limit_id for each in denied.violations] == ["acme-day"]
    await Policy(one.pool).delete_limit("acme-day", audit_id="")
    assert isinstance(await two.reservations.submit(make_reserve(50)), Held)


async def test_a_cap_below_what_is_used_denies_and_breaks_nothing(engine: Engine) -> None:
    call = make_reserve(500)
    await engine.reservations.submit(call)
    await put_limit(engine, make_limit("acme-day", cap=10))
    assert isinstance(await engine.reservations.submit(make_reserve(1)), Denied)
    await engine.reservations.submit(Settle(call.key, 1, 480))
    assert isinstance(await engine.reservations.submit(make_reserve(1)), Denied)
    await assert_books(engine)


def period_of(limit: Limit) -> Period:
    assert isinstance(limit.window, CalendarWindow)
    return limit.window.period


async def test_a_fresh_install_binds_every_org(engine: Engine) -> None:
    limits = await Books(engine.pool, engine.copy).list_limits(after="", count=100)
    bound = {(dict(each.scope).get("org"), each.metric, period_of(each)) for each in limits}
    assert bound == {
        (org, metric, period)
        for org in (None, "*")
        for metric, period in (
            (Metric.CALLS, Period.DAY),
            (Metric.COST, Period.DAY),
            (Metric.COST, Period.MONTH),
        )
    }
    denied = await engine.reservations.submit(make_reserve(10**10 + 1, org="new-org"))
    assert isinstance(denied, Denied)
    assert {each.limit.limit_id for each in denied.violations} == {"default-org-cost-day"}


async def test_two_limits_of_one_pattern_are_refused(engine: Engine) -> None:
    version = await put_limit(engine, make_limit("acme-day", cap=60))
    with pytest.raises(AlreadyExists):
        await put_limit(engine, make_limit("acme-day-too", cap=70))
    assert await put_limit(engine, make_limit("acme-day", cap=80)) == version + 1


async def test_deleting_what_is_not_there(engine: Engine) -> None:
    with pytest.raises(NotFound):
        await Policy(engine.pool).delete_limit("nothing", audit_id="")


async def test_changes_are_logged_with_what_they_replaced(
    engine: Engine, admin: Connection
) -> None:
    await put_limit(engine, make_limit("acme-day", cap=60))
    await put_limit(engine, make_limit("acme-day", cap=70))
    await Policy(engine.pool).delete_limit("acme-day", audit_id="audit-2")
    rows = await admin.fetch(
        "SELECT audit_id, target, before ->> 'cap' AS before, after ->> 'cap' AS after"
        " FROM change_log ORDER BY change_id"
    )
    assert [tuple(row) for row in rows] == [
        ("audit-1", "limit/acme-day", None, "60"),
        ("audit-1", "limit/acme-day", "60", "70"),
        ("audit-2", "limit/acme-day", "70", None),
    ]


async def test_one_invalid_limit_disables_itself_only(engine: Engine, admin: Connection) -> None:
    await put_limit(engine, make_limit("acme-day", cap=60))
    await admin.execute(
        "INSERT INTO limit_rule (limit_id, scope, metric, period, time_zone, cap, owner)"
        " VALUES ('broken', '{}', 1, 1, 'Nowhere/Land', 0, '')"
    )
    await admin.execute("UPDATE policy_version SET version = version + 1")
    assert isinstance(await engine.reservations.submit(make_reserve(60)), Held)
    assert isinstance(await engine.reservations.submit(make_reserve(1)), Denied)
    assert engine.copy.invalid_limits == {"broken": "Nowhere/Land"}


async def test_counters_are_listed_newest_first_with_their_caps(engine: Engine) -> None:
    books = Books(engine.pool, engine.copy)
    await put_limit(engine, make_limit("acme-day", cap=60))
    await engine.reservations.submit(make_reserve(50))
    rows = await books.list_counters(org=None, after=None, count=100)
    assert len(rows) == 6
    starts = [row.key.span.start for row in rows]
    assert starts == sorted(starts, reverse=True)
    mine = await books.list_counters(org="acme", after=None, count=100)
    caps = {row.limit.limit_id: row.limit.cap for row in mine if row.limit}
    assert caps["acme-day"] == 60
    last = rows[3]
    rest = await books.list_counters(
        org=None, after=(last.key.span.start, last.key.counter_id), count=100
    )
    assert [row.key.counter_id for row in rest] == [row.key.counter_id for row in rows[4:]]
