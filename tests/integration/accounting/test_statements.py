"""Closed months: statements never change, and all of them together are the books."""

from __future__ import annotations

import asyncio
import datetime as dt
import random
import uuid
from typing import Any

import asyncpg
import grpc
import pytest

from chassis.database import Connection
from headgate.api.accounting.v1 import books_pb2 as pb
from headgate.api.accounting.v1 import books_pb2_grpc
from services.accounting.books.statements import GRACE_DAYS, LineQuery, Statements
from services.accounting.config import AccountingSettings
from services.accounting.jobs.close_spend_day import close_spend_day
from tests.integration.accounting.refusals import refusal
from tests.integration.accounting.replicas import Open, OpenConnection, Replica
from tests.integration.accounting.samples import SAMPLE_NANOS, now, report

TODAY = now().date()
THIS_MONTH = TODAY.replace(day=1)
LAST_MONTH = (THIS_MONTH - dt.timedelta(days=1)).replace(day=1)
EARLIER_MONTH = (LAST_MONTH - dt.timedelta(days=1)).replace(day=1)
ROLLUP = """
INSERT INTO rollup (
    level, org, day, hour, dimension, value, operation, provider, model, call_count, cost_nanos
)
SELECT v.level, CASE v.level WHEN 2 THEN $1 ELSE '' END, $2::date, 0, '', '',
    CASE v.level WHEN 2 THEN 'o' ELSE '' END, CASE v.level WHEN 2 THEN 'p' ELSE '' END,
    CASE v.level WHEN 2 THEN 'm' ELSE '' END, 1, $3::bigint
FROM (VALUES (2), (4)) AS v (level)
ON CONFLICT (level, org, day, hour, dimension, value, operation, provider, model)
DO UPDATE SET
    call_count = rollup.call_count + 1, cost_nanos = rollup.cost_nanos + excluded.cost_nanos
"""


def text(month: dt.date) -> str:
    return f"{month:%Y-%m}"


async def use(admin: Connection, day: dt.date, nanos: int, org: str = "acme") -> None:
    """What a booking of long ago leaves, whose log cannot be written any more."""
    await admin.execute(ROLLUP, org, day, nanos)


async def lines(statements: Statements, month: dt.date, org: str = "") -> list[tuple[Any, ...]]:
    rows = await statements.list_lines(LineQuery(month=month, org=org))
    return [(text(row["usage_month"]), row["org"], int(row["cost_nanos"])) for row in rows]


async def test_what_is_booked_later_goes_to_the_next_statement(
    replica: Replica, admin: Connection
) -> None:
    statements = Statements(replica.pool)
    await use(admin, EARLIER_MONTH, 100)
    await use(admin, EARLIER_MONTH, 50, "globex")
    first, closed = await statements.close(EARLIER_MONTH, audit_id="a")
    assert (closed, first.cost_nanos, first.call_count, first.correction_nanos) == (
        True,
        150,
        2,
        0,
    )

    # A late report and a credit, and the next month's own usage.
    await use(admin, EARLIER_MONTH, 7)
    await use(admin, EARLIER_MONTH, -50, "globex")
    await use(admin, LAST_MONTH, 1_000)
    again, closed = await statements.close(EARLIER_MONTH, audit_id="b")
    second, _ = await statements.close(LAST_MONTH, audit_id="c")

    assert (again, closed) == (first, False)
    assert (second.cost_nanos, second.correction_nanos) == (957, -43)
    assert await lines(statements, EARLIER_MONTH) == [
        (text(EARLIER_MONTH), "acme", 100),
        (text(EARLIER_MONTH), "globex", 50),
    ]
    assert await lines(statements, LAST_MONTH) == [
        (text(EARLIER_MONTH), "acme", 7),
        (text(EARLIER_MONTH), "globex", -50),
        (text(LAST_MONTH), "acme", 1_000),
    ]
    of_globex = await statements.list_statements("globex")
    assert [each.cost_nanos for each in of_globex] == [-50, 50]
    events = await admin.fetch("SELECT title, data ->> 'cost_nanos' FROM event ORDER BY 1")
    assert [tuple(row) for row in events] == [
        (f"{text(EARLIER_MONTH)} is closed", "150"),
        (f"{text(LAST_MONTH)} is closed", "957"),
    ]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE statement_line SET cost_nanos = 0",
        "DELETE FROM statement_line",
        "INSERT INTO statement_line SELECT month, month, '', '', '', '', 1, 1 FROM closed_month",
        "UPDATE closed_month SET close_time = clock_timestamp()",
        "DELETE FROM closed_month",
    ],
)
async def test_a_closed_month_refuses_every_change(
    replica: Replica, admin: Connection, change: str
) -> None:
    await use(admin, LAST_MONTH, 100)
    await Statements(replica.pool).close(LAST_MONTH, audit_id="a")
    for connection in (admin, replica.pool):
        with pytest.raises(asyncpg.RestrictViolationError, match="does not change"):
            await connection.execute(change)

    assert await lines(Statements(replica.pool), LAST_MONTH) == [(text(LAST_MONTH), "acme", 100)]


async def test_a_month_is_closed_once_whoever_races_and_whatever_is_booked_meanwhile(
    start: Open, admin: Connection, connect: OpenConnection
) -> None:
    dice = random.Random(7)
    replicas = [await start(), await start()]
    await use(admin, EARLIER_MONTH, 1)

    async def book() -> int:
        connection, total = await connect(), 0
        for _ in range(40):
            nanos = dice.randrange(1, 10**6)
            await use(connection, dice.choice((EARLIER_MONTH, LAST_MONTH)), nanos)
            total += nanos
        return total

    async def close(replica: Replica) -> int:
        closed_count = 0
        for month in (EARLIER_MONTH, LAST_MONTH):
            _, closed = await Statements(replica.pool).close(month, audit_id="a")
            closed_count += closed
        return closed_count

    booked, *closed = await asyncio.gather(book(), *map(close, replicas))
    # The last corrections are charged by the statement that comes next.
    rest = await admin.fetchval(
        "SELECT (SELECT sum(cost_nanos) FROM rollup WHERE level = 4)"
        " - (SELECT sum(cost_nanos) FROM statement_line)"
    )
    charged = await admin.fetchval("SELECT sum(cost_nanos) FROM statement_line")

    assert sum(closed) == 2
    assert charged + rest == booked + 1
    assert await admin.fetchval("SELECT count(*) FROM closed_month") == 2


async def test_months_are_closed_in_order_when_they_are_over(
    channel: grpc.aio.Channel, admin: Connection, replica: Replica
) -> None:
    books: Any = books_pb2_grpc.BookServiceStub(channel)

    def close(month: str) -> Any:
        return books.CloseMonth(pb.CloseMonthRequest(month=month, audit_id=str(uuid.uuid4())))

    await replica.ledger.record([report()])
    await use(admin, EARLIER_MONTH, 5)
    for month in (THIS_MONTH, LAST_MONTH):
        assert (await refusal(close(text(month)))).reason == "MONTH_NOT_CLOSABLE"
    for wrong in ("", "2026", "2026-13", "2026-1", "20261", "2026-10-01", "1969-12", "9999-12"):
        assert [each.field for each in (await refusal(close(wrong))).violations] == ["month"]
    assert (await close(text(EARLIER_MONTH))).closed
    answer = await close(text(LAST_MONTH))
    assert (answer.closed, answer.statement.cost_nanos) == (True, 0)
    assert not (await close(text(EARLIER_MONTH))).closed
    unclosed = await refusal(close("1999-01"))
    missing = await refusal(books.GetStatement(pb.GetStatementRequest(month=text(THIS_MONTH))))

    assert unclosed.reason == missing.reason == "STATEMENT_NOT_FOUND"
    listed = await books.ListStatements(pb.ListStatementsRequest())
    assert [each.month for each in listed.statements] == [text(LAST_MONTH), text(EARLIER_MONTH)]
    found = await books.GetStatement(pb.GetStatementRequest(month=text(EARLIER_MONTH), org="acme"))
    assert [(each.operation, each.model, each.cost_nanos) for each in found.lines] == [
        ("o", "m", 5)
    ]


async def test_a_statement_comes_a_page_at_a_time(
    channel: grpc.aio.Channel, admin: Connection, replica: Replica
) -> None:
    books: Any = books_pb2_grpc.BookServiceStub(channel)
    await replica.ledger.record([report()])
    for org in ("a", "b", "c"):
        await use(admin, LAST_MONTH, 5, org=org)
    await Statements(replica.pool).close(LAST_MONTH, audit_id="a")
    request = pb.GetStatementRequest(month=text(LAST_MONTH), page_size=2)
    first = await books.GetStatement(request)
    request.page_token = first.next_page_token
    second = await books.GetStatement(request)
    request.org = "a"
    error = await refusal(books.GetStatement(request))

    assert [line.org for line in (*first.lines, *second.lines)] == ["a", "b", "c"]
    assert second.next_page_token == ""
    assert [each.field for each in error.violations] == ["page_token"]


async def test_the_job_closes_what_is_due_and_is_harmless_twice_or_without_any_usage(
    settings: AccountingSettings, admin: Connection, replica: Replica
) -> None:
    await close_spend_day(settings)
    assert await admin.fetchval("SELECT count(*) FROM closed_month") == 0
    await replica.ledger.record([report()])
    for days in (90, 150):
        await use(admin, THIS_MONTH - dt.timedelta(days=days), SAMPLE_NANOS)
    await asyncio.gather(close_spend_day(settings), close_spend_day(settings))
    await close_spend_day(settings)

    months = await admin.fetch("SELECT month FROM closed_month ORDER BY month")
    ended = LAST_MONTH if TODAY.day > GRACE_DAYS else EARLIER_MONTH
    assert months[-1]["month"] == ended
    assert len(months) >= 4
    assert await admin.fetchval("SELECT sum(cost_nanos) FROM statement_line") == 2 * SAMPLE_NANOS
