"""What is acknowledged is durable, and whatever is not can be repeated."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Sequence
from functools import partial

import pytest
import pytest_asyncio
from opentelemetry.metrics import NoOpMeter
from pydantic import SecretStr

from chassis import database
from chassis.database import Connection
from chassis.errors import DeadlineTooShort, Internal, ServiceError, StoreUnavailable, translate
from headgate.batching import BatcherClosedError
from services.accounting.config import AccountingSettings
from services.accounting.connections import connect as connect_writer
from services.accounting.domain.usage import AMOUNT_MAX, Booking, Refusal, Report
from services.accounting.ledger import Ledger
from services.accounting.store import LogWriter
from tests.integration.accounting.cable import Cable, plugged
from tests.integration.accounting.replicas import OpenConnection, Replica
from tests.integration.accounting.samples import now, report
from tests.schemas import runtime_url


@pytest_asyncio.fixture
async def cabled(
    replica: Replica, settings: AccountingSettings, database_url: str
) -> AsyncIterator[tuple[Ledger, Cable]]:
    """A ledger whose writer goes through a cable, with a partition and a plan in the cache."""
    async with plugged(runtime_url(database_url, "accounting")) as (cable, url):
        there = settings.model_copy(update={"database_url": SecretStr(url)})
        writer = LogWriter(partial(connect_writer, there, name="accounting-writer"))
        ledger = Ledger(writer=writer, prices=replica.prices, metrics=NoOpMeter("tests"))
        await record(ledger, [report()])
        yield ledger, cable
        await ledger.aclose()


async def record(ledger: Ledger, reports: Sequence[Report]) -> list[bool]:
    """Books all; tells which were first."""
    answers = await ledger.record(reports)
    assert all(isinstance(answer, Booking) for answer in answers), answers
    return [answer.first for answer in answers if isinstance(answer, Booking)]


async def counts(admin: Connection) -> tuple[int, int]:
    """Rows of the log, and calls in the platform's rollup."""
    row = await admin.fetchrow(
        "SELECT (SELECT count(*) FROM usage_log),"
        " (SELECT sum(call_count)::bigint FROM rollup_platform_day)"
    )
    assert row is not None
    return tuple(row)


async def test_a_commit_whose_answer_is_lost_is_not_booked_again(
    cabled: tuple[Ledger, Cable], admin: Connection
) -> None:
    ledger, cable = cabled
    cable.cut_at_next_answer = True

    assert await record(ledger, [report(), report()]) == [False, False]
    assert await counts(admin) == (3, 3)


async def test_a_connection_cut_while_idle_is_replaced_unnoticed(
    cabled: tuple[Ledger, Cable], admin: Connection
) -> None:
    ledger, cable = cabled
    for _ in range(3):
        cable.cut()
        assert await record(ledger, [report()]) == [True]

    assert await counts(admin) == (4, 4)


async def test_a_database_that_is_away_books_nothing_and_later_everything(
    cabled: tuple[Ledger, Cable], admin: Connection
) -> None:
    ledger, cable = cabled
    reports = [report(), report()]
    cable.unplugged = True
    cable.cut()

    answers = await ledger.record(reports)

    assert [type(answer) for answer in answers] == [StoreUnavailable, StoreUnavailable]
    assert await counts(admin) == (1, 1)

    cable.unplugged = False
    assert await record(ledger, reports) == [True, True]


@pytest.mark.parametrize(
    "bad",
    [
        # Refused by the server, by the driver, and by a check of the schema.
        {"labels": {"key": "a\x00b"}},
        {"latency_ms": 2**31},
        {"held_nanos": AMOUNT_MAX + 1},
    ],
)
@pytest.mark.parametrize("place", [0, 3, 6])
async def test_a_member_that_the_database_refuses_fails_alone(
    replica: Replica, admin: Connection, bad: dict[str, object], place: int
) -> None:
    reports = [report() for _ in range(6)]
    reports.insert(place, report(**bad))

    answers = await replica.ledger.record(reports)

    assert answers[place] is Refusal.DATA_ERROR
    assert sum(isinstance(answer, Booking) for answer in answers) == 6
    assert await counts(admin) == (6, 6)


async def test_a_member_is_found_at_fault_by_a_batch_that_was_cut_off_before(
    cabled: tuple[Ledger, Cable], admin: Connection
) -> None:
    ledger, cable = cabled
    cable.cut()

    answers = await ledger.record([report(), report(held_nanos=AMOUNT_MAX + 1), report()])

    assert answers[1] is Refusal.DATA_ERROR
    assert [type(answers[place]) for place in (0, 2)] == [Booking, Booking]
    assert await counts(admin) == (3, 3)


async def test_a_lock_that_is_held_too_long_fails_the_batch_and_books_nothing(
    replica: Replica, settings: AccountingSettings, connect: OpenConnection, admin: Connection
) -> None:
    await record(replica.ledger, [report()])
    writer = LogWriter(
        partial(
            database.connect,
            settings.database_url,
            application_name="accounting-writer",
            schema="accounting",
            lock_timeout_ms=20,
        )
    )
    ledger = Ledger(writer=writer, prices=replica.prices, metrics=NoOpMeter("tests"))
    holder = await connect()
    late = report()
    async with holder.transaction():
        await holder.execute("SELECT day FROM rollup_platform_day FOR UPDATE")
        (answer,) = await ledger.record([late])

    assert isinstance(answer, StoreUnavailable)
    assert await counts(admin) == (1, 1)
    assert await record(ledger, [late]) == [True]
    await ledger.aclose()


async def test_a_report_whose_deadline_passed_is_not_begun(
    replica: Replica, admin: Connection
) -> None:
    past = asyncio.get_running_loop().time() - 1
    (answer,) = await replica.ledger.record([report()], deadline=past)

    assert isinstance(answer, DeadlineTooShort)
    assert await admin.fetchval("SELECT count(*) FROM usage_log") == 0


async def test_a_ledger_that_closes_finishes_what_it_has_and_takes_no_more(
    replica: Replica, admin: Connection
) -> None:
    answers, _ = await asyncio.gather(
        replica.ledger.record([report() for _ in range(5)]), replica.ledger.aclose()
    )

    assert all(isinstance(answer, Booking) for answer in answers)
    with pytest.raises(BatcherClosedError):
        await replica.ledger.record([report()])
    assert await counts(admin) == (5, 5)


async def test_a_failure_that_is_nobodys_fault_reaches_every_member_and_leaks_nothing(
    replica: Replica, admin: Connection
) -> None:
    await admin.execute("ALTER TABLE rollup RENAME TO elsewhere")
    answers = await replica.ledger.record([report(), report()])
    await admin.execute("ALTER TABLE elsewhere RENAME TO rollup")

    errors = [translate(answer) for answer in answers if isinstance(answer, Exception)]
    assert [type(error) for error in errors] == [Internal, Internal]
    assert all(
        "rollup" not in error.message for error in errors if isinstance(error, ServiceError)
    )
    assert await record(replica.ledger, [report()]) == [True]


async def test_a_partition_that_went_away_is_made_again(
    replica: Replica, admin: Connection
) -> None:
    day = now() - dt.timedelta(days=20)
    await record(replica.ledger, [report(admit_time=day)])
    await admin.execute(f"DROP TABLE usage_log_{day:%Y%m%d}")

    assert await record(replica.ledger, [report(admit_time=day)]) == [True]


async def test_replicas_that_need_the_same_new_days_do_not_get_in_each_others_way(
    replica: Replica, settings: AccountingSettings, admin: Connection
) -> None:
    days = [now() - dt.timedelta(days=number) for number in range(1, 8)]
    ledgers = [
        Ledger(
            writer=LogWriter(
                partial(connect_writer, settings, name="accounting-writer"),
            ),
            prices=replica.prices,
            metrics=NoOpMeter("tests"),
        )
        for _ in range(4)
    ]
    results = await asyncio.gather(
        *[record(ledger, [report(admit_time=day) for day in days]) for ledger in ledgers]
    )

    assert results == [[True] * 7] * 4
    assert await counts(admin) == (28, 28)
    for ledger in ledgers:
        await ledger.aclose()


async def test_bookings_go_on_while_a_partition_is_made(
    replica: Replica, connect: OpenConnection
) -> None:
    await record(replica.ledger, [report()])
    maker = await connect()
    async with maker.transaction():
        yesterday = now().date() - dt.timedelta(days=1)
        await maker.fetchval("SELECT ensure_partition($1::date, 35, 1)", yesterday)

        # Its locks are held until here.
        assert await record(replica.ledger, [report()]) == [True]
