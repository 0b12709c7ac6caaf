"""An attempt is booked once, whoever reports it, whenever and how often."""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid
from dataclasses import replace

import pytest

from chassis.database import Connection
from services.accounting.domain.meters import NO_METERS, MeterCounts
from services.accounting.domain.usage import HORIZON, Booking, CostBasis, Outcome, Refusal
from services.accounting.store import CLOCK_SKEW
from tests.integration.accounting.replicas import Open, Replica
from tests.integration.accounting.samples import SAMPLE_NANOS, now, report

BOOKED = Booking(SAMPLE_NANOS, CostBasis.METERS, revision=1, first=True, token_count=110)
REPLAYED = Booking(SAMPLE_NANOS, CostBasis.METERS, revision=1, first=False, token_count=110)


async def count(admin: Connection) -> int:
    found: int = await admin.fetchval("SELECT count(*) FROM usage_log")
    return found


async def rolled_up(admin: Connection) -> tuple[int, int]:
    row = await admin.fetchrow(
        "SELECT sum(call_count)::bigint, sum(cost_nanos)::bigint FROM rollup_platform_day"
    )
    assert row is not None
    return tuple(row)


async def test_a_repeated_report_gets_what_was_booked(replica: Replica, admin: Connection) -> None:
    once = report()

    assert await replica.ledger.record([once]) == [BOOKED]
    assert await replica.ledger.record([once]) == [REPLAYED]
    assert await count(admin) == 1
    assert await rolled_up(admin) == (1, SAMPLE_NANOS)


async def test_a_report_twice_in_one_batch_is_booked_once(
    replica: Replica, admin: Connection
) -> None:
    once, other = report(), report()

    answers = await replica.ledger.record([once, other, once, once])

    assert answers == [BOOKED, BOOKED, REPLAYED, REPLAYED]
    assert await count(admin) == 2
    assert await rolled_up(admin) == (2, 2 * SAMPLE_NANOS)


async def test_an_id_twice_in_one_batch_with_other_payloads_keeps_the_first(
    replica: Replica, admin: Connection
) -> None:
    once = report()
    second = replace(once, meters=MeterCounts(input=7))

    assert await replica.ledger.record([once, second]) == [BOOKED, Refusal.ID_REUSED]
    assert await rolled_up(admin) == (1, SAMPLE_NANOS)


@pytest.mark.parametrize(
    "change",
    [{"meters": MeterCounts(input=7)}, {"outcome": Outcome.ABORTED}, {"held_nanos": 1}],
)
async def test_another_payload_is_refused_and_changes_nothing(
    replica: Replica, admin: Connection, change: dict[str, object]
) -> None:
    once = report()
    await replica.ledger.record([once])

    changed = replace(once, **change)  # type: ignore[arg-type]  # one field at a time

    assert await replica.ledger.record([changed]) == [Refusal.ID_REUSED]
    assert await rolled_up(admin) == (1, SAMPLE_NANOS)


async def test_an_id_belongs_to_its_org(replica: Replica, admin: Connection) -> None:
    ours = report()

    assert await replica.ledger.record([ours, replace(ours, org="globex")]) == [BOOKED, BOOKED]
    assert await count(admin) == 2


async def test_a_report_repeated_after_midnight_meets_the_row_of_the_day_before(
    start: Open, admin: Connection
) -> None:
    midnight = now().replace(hour=0, minute=0, second=0, microsecond=0)
    late = report(admit_time=midnight - dt.timedelta(microseconds=1))
    early = report(admit_time=midnight)
    first, second = await start(), await start()

    assert await first.ledger.record([late, early]) == [BOOKED, BOOKED]
    assert await second.ledger.record([early, late]) == [REPLAYED, REPLAYED]
    days = await admin.fetch("SELECT day, call_count FROM rollup_platform_day ORDER BY day")
    today = midnight.date()
    assert [tuple(row) for row in days] == [(today - dt.timedelta(days=1), 1), (today, 1)]


async def test_replicas_that_book_the_same_reports_at_once_book_each_once(
    start: Open, admin: Connection
) -> None:
    replicas = [await start() for _ in range(3)]
    reports = [report(org=f"org-{number % 4}") for number in range(60)]
    orders = [reports, reports[::-1], reports[30:] + reports[:30]]

    async def book(replica: Replica, order: list[object]) -> list[bool]:
        answers = []
        for begin in range(0, len(order), 7):
            part = order[begin : begin + 7]
            answers += await replica.ledger.record(part)  # type: ignore[arg-type]
        assert all(isinstance(answer, Booking) for answer in answers)
        return [answer.first for answer in answers if isinstance(answer, Booking)]

    firsts = await asyncio.gather(
        *[book(each, list(order)) for each, order in zip(replicas, orders, strict=True)]
    )

    assert sum(sum(found) for found in firsts) == len(reports)
    assert await count(admin) == len(reports)
    assert await rolled_up(admin) == (60, 60 * SAMPLE_NANOS)


async def test_a_replay_tells_what_stands_there_although_prices_have_changed(
    replica: Replica, admin: Connection
) -> None:
    once = report(meters=NO_METERS, outcome=Outcome.ABORTED)
    await replica.ledger.record([once])
    await admin.execute("UPDATE usage_entry SET total_nanos = 5, cost_basis = 1")

    assert await replica.ledger.record([once]) == [
        Booking(5, CostBasis.METERS, revision=1, first=False)
    ]


async def test_a_replay_tells_the_latest_revision(replica: Replica, admin: Connection) -> None:
    once = report()
    await replica.ledger.record([once])
    await admin.execute(
        """
        INSERT INTO usage_entry (
            org, call_id, revision, admit_time, kind_id, caller_id, outcome, cost_basis,
            price_version, held_nanos, total_nanos, payload_digest
        )
        SELECT
            org, call_id, 2, admit_time, kind_id, caller_id, outcome, cost_basis,
            price_version, held_nanos, 77, payload_digest
        FROM usage_entry
        """
    )

    assert await replica.ledger.record([once]) == [
        Booking(77, CostBasis.METERS, revision=2, first=False)
    ]


async def test_a_report_within_the_horizon_is_booked_and_one_beyond_is_too_late(
    replica: Replica, admin: Connection
) -> None:
    inside = report(admit_time=now() - HORIZON + dt.timedelta(minutes=1))
    beyond = report(admit_time=now() - HORIZON - dt.timedelta(seconds=1))
    far = report(admit_time=dt.datetime(1970, 1, 1, tzinfo=dt.UTC))

    answers = await replica.ledger.record([inside, beyond, far])

    assert answers == [BOOKED, Refusal.TOO_LATE, Refusal.TOO_LATE]
    assert await count(admin) == 1


async def test_a_clock_may_be_ahead_a_little_and_no_more(
    replica: Replica, admin: Connection
) -> None:
    ahead = report(admit_time=now() + CLOCK_SKEW - dt.timedelta(seconds=30))
    future = report(admit_time=now() + CLOCK_SKEW + dt.timedelta(minutes=1))
    far = report(admit_time=dt.datetime(9999, 12, 31, tzinfo=dt.UTC))

    answers = await replica.ledger.record([ahead, future, far])

    assert answers == [BOOKED, Refusal.IN_FUTURE, Refusal.IN_FUTURE]
    assert await count(admin) == 1


async def test_everything_that_was_reported_stands_in_the_log(
    replica: Replica, admin: Connection
) -> None:
    parent = uuid.uuid4()
    full = report(
        meters=MeterCounts(1, 2, 3, 4, 5, None),
        parent_call_id=parent,
        api_key_id="k_1",
        labels={"ticket": "T-1", "phase": "build"},
        latency_ms=1_500,
        error_type="timeout",
        outcome=Outcome.PROVIDER_FAILED,
    )
    await replica.ledger.record([full])

    row = await admin.fetchrow("SELECT *, labels->>'ticket' AS ticket FROM usage_log")

    assert row is not None
    found = dict(row)
    for name in ("org", "call_id", "operation", "provider", "model", "admit_time", "held_nanos"):
        assert found[name] == getattr(full, name)
    assert (found["parent_call_id"], found["api_key_id"], found["ticket"]) == (
        parent,
        "k_1",
        "T-1",
    )
    assert (found["latency_ms"], found["error_type"], found["outcome"]) == (1_500, "timeout", 2)
    assert (found["input_token_count"], found["output_token_count"]) == (1, 5)
    assert found["reasoning_token_count"] is None
    assert found["revision"] == 1
