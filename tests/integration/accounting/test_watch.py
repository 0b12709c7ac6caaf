"""What limits, calls and providers do becomes an alert, once, whoever looks."""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import asyncpg
import pytest

from chassis.database import Connection, Pool
from headgate.api.admission.v1 import admission_pb2
from headgate.api.common.v1 import health_pb2, limit_pb2, violation_pb2
from headgate.api.health.v1 import health_pb2 as health
from services.accounting.alerts.anomalies import look_for_anomalies
from services.accounting.alerts.crossings import CrossingFeed
from services.accounting.alerts.denials import DeniedBudgets
from services.accounting.alerts.faults import UsageFaults
from services.accounting.alerts.fitness import Fitness
from services.accounting.alerts.register import notice
from services.accounting.domain.meters import MeterCounts
from services.accounting.domain.usage import Outcome
from tests.integration.accounting.crossing_feed import Feed, crossing, stamp
from tests.integration.accounting.noticing import ALERTS, EVENTS
from tests.integration.accounting.replicas import Replica, wait_for_older
from tests.integration.accounting.samples import now, report

READERS = 16


async def test_of_16_readers_each_crossing_is_raised_once_and_again_in_the_next_period(
    pool: Pool, admin: Connection
) -> None:
    feed = Feed([crossing("november", percent) for percent in (50, 80, 100)])
    readers = [CrossingFeed(pool, feed.list_crossings) for _ in range(READERS)]
    applied = await asyncio.gather(*(reader.pull() for reader in readers))

    assert sum(applied) == 3
    types = [row["type"] for row in await admin.fetch(EVENTS)]
    assert types == ["cost.budget.warning", "cost.budget.warning", "cost.budget.exceeded"]
    feed.rows.append(crossing("december", 50))
    await asyncio.gather(*(reader.pull() for reader in readers))
    assert len(await admin.fetch(EVENTS)) == 4
    assert {row["occurrence_count"] for row in await admin.fetch(ALERTS)} == {1}


async def test_a_feed_that_is_read_again_from_the_start_raises_nothing_again(
    pool: Pool, admin: Connection
) -> None:
    feed = Feed([crossing("november", percent) for percent in (50, 80)])
    await CrossingFeed(pool, feed.list_crossings).pull()
    await admin.execute("UPDATE feed_cursor SET transaction_id = 0, row_id = 0")
    # Resolved meanwhile: a threshold of a period does not come back.
    await admin.execute("UPDATE alert SET state = 3, resolve_time = now() WHERE alert_id = 1")

    assert await CrossingFeed(pool, feed.list_crossings).pull() == 2
    assert len(await admin.fetch(EVENTS)) == 2


async def test_a_reader_that_dies_between_alert_and_cursor_has_done_neither(
    pool: Pool, admin: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = Feed([crossing("november", 50), crossing("november", 80)])
    calls = 0

    async def die_at_the_second(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise asyncpg.ConnectionDoesNotExistError("killed")
        return await notice(*arguments)

    monkeypatch.setattr("services.accounting.alerts.crossings.notice", die_at_the_second)
    with pytest.raises(asyncpg.ConnectionDoesNotExistError):
        await CrossingFeed(pool, feed.list_crossings).pull()
    assert await admin.fetch(EVENTS) == []
    monkeypatch.undo()

    assert await CrossingFeed(pool, feed.list_crossings).pull() == 2
    assert len(await admin.fetch(EVENTS)) == 2


async def book(replica: Replica, **changes: Any) -> None:
    await replica.ledger.record([report(**changes)])


async def test_calls_that_went_to_another_model_are_told_once_for_each_way(
    replica: Replica, pool: Pool, admin: Connection
) -> None:
    first = [report(outcome=Outcome.PROVIDER_FAILED) for _ in range(3)]
    other: dict[str, Any] = {"provider": "google", "model": "gemini-2.5-pro"}
    await replica.ledger.record(first)
    again = [report(parent_call_id=each.call_id, **other) for each in first[:2]]
    same = report(parent_call_id=first[2].call_id)
    orphan = report(parent_call_id=uuid.uuid4(), **other, operation="orphan")
    await replica.ledger.record([*again, same, orphan])
    await wait_for_older(pool)
    await UsageFaults(pool).look()
    await UsageFaults(pool).look()

    (event,) = await admin.fetch(f"SELECT * FROM ({EVENTS}) AS e WHERE type = 'model.switched'")
    assert event["title"] == (
        "2 calls of summarize by acme went to google/gemini-2.5-pro,"
        " for openai/gpt-4o-mini had failed"
    )


async def test_faults_of_booked_calls_are_told_and_each_row_is_looked_at_once(
    replica: Replica, pool: Pool, admin: Connection
) -> None:
    await UsageFaults(pool).look()
    await book(replica)
    await book(replica, held_nanos=20_000)
    await book(replica, model="gpt-9")
    await book(replica, model="gpt-9", org="globex")
    await book(replica, meters=MeterCounts())
    await wait_for_older(pool)
    looked = await asyncio.gather(*(UsageFaults(pool).look() for _ in range(4)))

    assert sum(looked) == 5
    found = sorted((row["type"], row["org"]) for row in await admin.fetch(ALERTS))
    assert found == [
        ("cost.overrun", "acme"),
        ("usage.unpriced", "acme"),
        ("usage.unpriced", "globex"),
        ("usage.unreported", "acme"),
    ]
    assert await UsageFaults(pool).look() == 0
    overrun = await admin.fetchval("SELECT data FROM alert WHERE type = 'cost.overrun'")
    assert '"overrun_nanos": 1000' in overrun


def fitness(
    pool: Pool,
    *,
    open_: Sequence[tuple[str, int]],
    parts: Sequence[str] = (),
    killed: bool = False,
) -> Fitness:
    answer = health.GetHealthResponse(
        providers=[
            health_pb2.ProviderHealth(
                provider=name, epoch=epoch, state=health_pb2.BREAKER_STATE_OPEN
            )
            for name, epoch in open_
        ]
        + [health_pb2.ProviderHealth(provider="well", state=health_pb2.BREAKER_STATE_CLOSED)],
        parts=[
            health_pb2.PartHealth(
                provider="openai", credential=org, state=health_pb2.BREAKER_STATE_OPEN, epoch=1
            )
            for org in parts
        ],
        kills=[
            health_pb2.KillSwitch(
                kill_id="platform",
                state=health_pb2.KILL_STATE_IN_FORCE if killed else health_pb2.KILL_STATE_RESUMING,
                reason="runaway",
                actor="k_ann",
            )
        ],
    )

    async def get_health(request: object, *, timeout: float) -> health.GetHealthResponse:
        return answer

    return Fitness(pool, get_health)


async def test_a_breaker_and_a_stop_are_alerts_until_they_end(
    pool: Pool, admin: Connection
) -> None:
    broken = fitness(pool, open_=[("openai", 3)], parts=["acme"], killed=True)
    await asyncio.gather(*(broken.compare() for _ in range(4)))
    await broken.compare()
    opened = [row["type"] for row in await admin.fetch(EVENTS)]
    assert sorted(opened) == ["breaker.opened", "breaker.opened", "kill.set"]
    await fitness(pool, open_=[]).compare()
    await fitness(pool, open_=[]).compare()

    ended = [row["type"] for row in await admin.fetch(EVENTS)][3:]
    assert sorted(ended) == ["breaker.closed", "breaker.closed", "kill.lifted"]
    assert {row["resolve_time"] is None for row in await admin.fetch(ALERTS)} == {False}
    orgs = {row["org"] for row in await admin.fetch(EVENTS) if "credential" in row["subject"]}
    assert orgs == {"acme"}
    await broken.compare()
    assert len(await admin.fetch(EVENTS)) == 9


class Admission:
    """Admission's answers about limits and what they denied."""

    def __init__(self, violations: Sequence[violation_pb2.ViolationCount]) -> None:
        self._violations = violations
        budget = limit_pb2.Limit(limit_id="budget", metric=limit_pb2.METRIC_COST, owner="ann")
        budget.calendar.period = limit_pb2.CALENDAR_PERIOD_MONTH
        rate = limit_pb2.Limit(limit_id="rate", metric=limit_pb2.METRIC_CALLS)
        rate.rolling.duration.FromSeconds(60)
        self._pages = {"": [rate], "2": [budget]}

    async def ListViolations(self, request: object, *, timeout: float) -> Any:  # noqa: N802
        return admission_pb2.ListViolationsResponse(violations=self._violations)

    async def ListLimits(  # noqa: N802
        self, request: admission_pb2.ListLimitsRequest, *, timeout: float
    ) -> Any:
        limits = self._pages[request.page_token]
        token = "2" if not request.page_token else ""
        return admission_pb2.ListLimitsResponse(limits=limits, next_page_token=token)


def denied(limit_id: str, *, minutes_ago: int = 1, shadow: bool = False) -> Any:
    return violation_pb2.ViolationCount(
        limit_id=limit_id,
        org="acme",
        minute=stamp(now() - dt.timedelta(minutes=minutes_ago)),
        call_count=7,
        requested_nanos=9,
        shadow=shadow,
    )


async def test_a_budget_that_denies_is_exhausted_and_a_rate_is_not(
    pool: Pool, admin: Connection
) -> None:
    quiet = [denied("budget", minutes_ago=11), denied("budget", shadow=True)]
    assert await DeniedBudgets(pool, Admission(quiet)).look() == 0
    assert await DeniedBudgets(pool, Admission([denied("rate")])).look() == 0
    loud = [denied("budget"), denied("budget", minutes_ago=2), denied("rate")]
    for _ in range(2):
        assert await DeniedBudgets(pool, Admission(loud)).look() == 1

    (alert,) = await admin.fetch(ALERTS)
    assert (alert["type"], alert["org"]) == ("cost.budget.exhausted", "acme")
    assert '"denial_count": 14' in alert["data"]
    assert '"owner": "ann"' in alert["data"]


async def book_days(replica: Replica, cost_nanos: Callable[[int], int]) -> None:
    """Books a call on each of eight days, of any cost."""
    for days in range(8):
        await replica.ledger.record(
            [
                report(
                    call_id=uuid.uuid4(),
                    admit_time=now() - dt.timedelta(days=days),
                    held_nanos=cost_nanos(days),
                    meters=MeterCounts(),
                )
            ]
        )


@pytest.mark.parametrize(("today", "expected"), [(20, 1), (19, 0)])
async def test_a_day_with_twice_the_spend_of_the_week_before_is_told_once(
    replica: Replica, pool: Pool, admin: Connection, today: int, expected: int
) -> None:
    await book_days(replica, lambda days: (10 if days else today) * 10**9)
    looks: list[Awaitable[int]] = [look_for_anomalies(pool) for _ in range(3)]

    assert await asyncio.gather(*looks) == [expected] * 3
    events = await admin.fetch(EVENTS)
    assert [row["type"] for row in events] == ["cost.anomaly.spend"] * expected
