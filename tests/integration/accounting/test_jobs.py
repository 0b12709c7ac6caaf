"""Every job is harmless when run twice or never; what verification repairs, it reports."""

from __future__ import annotations

import asyncio
import datetime as dt

import pytest
from pydantic import SecretStr

from chassis.database import Connection
from chassis.process import JobError
from headgate.api.accounting.v1 import accounting_pb2 as pb
from services.accounting import imports
from services.accounting.catalogue import Catalogue, read_catalogue
from services.accounting.config import AccountingSettings
from services.accounting.domain.usage import Booking
from services.accounting.jobs.aggregate_usage import aggregate_usage
from services.accounting.jobs.create_partitions import create_partitions
from services.accounting.jobs.import_prices import import_prices
from services.accounting.partitions import DAYS_AHEAD
from services.accounting.verification import find_differences, list_days, rebuild
from tests.integration.accounting.replicas import OpenConnection, Replica, open_stub, serving
from tests.integration.accounting.samples import SAMPLE_BOOK, now, report
from tests.postgres import Clone
from tests.schemas import build_schemas, runtime_url

YESTERDAY = dt.timedelta(days=1)

PARTITIONS = """
SELECT inhrelid::regclass::text AS name FROM pg_inherits
WHERE inhparent = 'usage_entry'::regclass ORDER BY 1
"""

REFUSED = "SELECT title FROM alert WHERE type = 'prices.refused' AND state <> 3"

# Each makes a rollup that is not the sum of its log, and how many rows differ then.
DAMAGES = {
    "a sum of an org": ("UPDATE rollup_org_day SET cost_nanos = cost_nanos + 1", 2),
    "a count of an org": ("UPDATE rollup_org_day SET call_count = 0 WHERE org = 'acme'", 1),
    "an org is missing": ("DELETE FROM rollup_org_day WHERE org = 'acme'", 1),
    "an org without a log": (
        """
        INSERT INTO rollup (
            level, org, day, hour, dimension, value, operation, provider, model, call_count
        )
        SELECT 2, 'ghost', day, 0, '', '', 'o', 'p', 'm', 1 FROM rollup_platform_day
        """,
        1,
    ),
    "the platform's sum": ("UPDATE rollup_platform_day SET output_token_count = 0", 1),
    "the platform is missing": ("DELETE FROM rollup_platform_day", 1),
    "an hour of an org": ("UPDATE rollup_org_hour SET latency_histogram = 7", 2),
    "a value of a team": ("DELETE FROM rollup_dimension_day WHERE dimension = 'team'", 2),
    "a value of a label": (
        "UPDATE rollup_dimension_day SET value = 'T-9' WHERE org = 'acme' AND value = 'T-1'",
        2,
    ),
    "a rare meter": ("UPDATE rollup_platform_day SET audio_ms = 0", 1),
    "everything is missing": ("DELETE FROM rollup", 9),
}


async def book_yesterday(replica: Replica, count: int = 2) -> None:
    reports = [
        report(org=org, admit_time=now() - YESTERDAY, team="t", labels={"ticket": "T-1"})
        for org in ("acme", "globex")
        for _ in range(count)
    ]
    answers = await replica.ledger.record(reports)
    assert all(isinstance(answer, Booking) for answer in answers)


async def test_partitions_of_the_coming_days_are_made_once(
    settings: AccountingSettings, admin: Connection
) -> None:
    await create_partitions(settings)
    first = await admin.fetch(PARTITIONS)
    await create_partitions(settings)

    today = now().date()
    expected = [f"usage_log_{today + dt.timedelta(days=n):%Y%m%d}" for n in range(DAYS_AHEAD + 1)]
    assert [row["name"] for row in first] == expected
    assert await admin.fetch(PARTITIONS) == first


async def test_the_shipped_prices_are_imported_once(
    settings: AccountingSettings, admin: Connection
) -> None:
    count = "SELECT version, (SELECT count(*) FROM model_price) FROM price_book"
    await import_prices(settings)
    first = await admin.fetchrow(count)
    await import_prices(settings)

    assert first is not None
    assert first["version"] == 2
    assert first["count"] > 2_000
    assert await admin.fetchrow(count) == first


async def test_prices_that_are_rejected_or_gone_keep_their_last_good_one(
    settings: AccountingSettings, admin: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dt.date] = []

    def offer_nothing(day: dt.date) -> Catalogue:
        asked.append(day)
        return Catalogue(prices=(), rejected=("openai/gpt-4o-mini",), unpriced_count=3)

    def offer_garbage(day: dt.date) -> Catalogue:
        raise ValueError(day)

    monkeypatch.setattr(imports, "read_catalogue", offer_nothing)
    await import_prices(settings)
    titles = [row["title"] for row in await admin.fetch(REFUSED)]
    monkeypatch.setattr(imports, "read_catalogue", offer_garbage)
    with pytest.raises(ValueError, match="-"):
        await import_prices(settings)
    (broken,) = await admin.fetch(REFUSED)
    monkeypatch.undo()
    monkeypatch.setattr(
        imports, "read_catalogue", lambda _: Catalogue(prices=(), rejected=(), unpriced_count=0)
    )
    await import_prices(settings)

    assert titles == [
        "1 prices of the catalogue are refused: openai/gpt-4o-mini: the price is out of bounds"
    ]
    assert broken["title"].endswith("cannot be read: ValueError")
    assert await admin.fetch(REFUSED) == []
    in_force = "SELECT count(*) FROM model_price WHERE until_version IS NULL"
    assert await admin.fetchval(in_force) == len(SAMPLE_BOOK)
    assert asked == [await admin.fetchval("SELECT (now() AT TIME ZONE 'UTC')::date")]


async def test_a_new_database_is_seeded_before_it_is_served(
    clone: Clone, settings: AccountingSettings
) -> None:
    async def build_empty(url: str) -> None:
        await build_schemas(url, "accounting")

    url = runtime_url(await clone("accounting_empty", build_empty), "accounting")
    empty = settings.model_copy(update={"database_url": SecretStr(url)})
    for _ in range(2):
        async with serving(empty) as port, open_stub(port, empty) as stub:
            book = await stub.GetPriceBook(pb.GetPriceBookRequest())

        assert book.version == 1
        assert len(book.prices) == len(read_catalogue(now().date()).prices)


async def test_rollups_that_agree_are_left_alone(
    replica: Replica, settings: AccountingSettings, admin: Connection
) -> None:
    await book_yesterday(replica)
    rows = "SELECT xmin::text, * FROM rollup_org_day ORDER BY org"
    before = await admin.fetch(rows)

    await aggregate_usage(settings)

    assert await admin.fetch(rows) == before


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_rollup_that_differs_is_reported_and_rebuilt(
    replica: Replica, settings: AccountingSettings, admin: Connection, damage: str
) -> None:
    await book_yesterday(replica)
    day = (now() - YESTERDAY).date()
    good = await admin.fetch("SELECT * FROM rollup ORDER BY level, org, dimension")
    statement, count = DAMAGES[damage]
    await admin.execute(statement)

    assert len(await find_differences(admin, day)) == count
    with pytest.raises(JobError, match=f"^{count} rollups differed"):
        await aggregate_usage(settings)
    await aggregate_usage(settings)

    assert await admin.fetch("SELECT * FROM rollup ORDER BY level, org, dimension") == good


async def test_the_day_that_still_runs_is_not_verified(
    replica: Replica, admin: Connection
) -> None:
    for days in (0, 1, 34):
        await replica.ledger.record([report(admit_time=now() - dt.timedelta(days=days))])
    today = now().date()

    assert await list_days(admin, days_back=36) == [
        today - dt.timedelta(days=34),
        today - dt.timedelta(days=1),
    ]
    assert await list_days(admin, days_back=33) == [today - dt.timedelta(days=1)]


async def test_a_rebuild_beside_busy_writers_loses_nothing(
    replica: Replica, connect: OpenConnection, admin: Connection
) -> None:
    await book_yesterday(replica)
    day = (now() - YESTERDAY).date()
    rebuilder = await connect()
    done = asyncio.Event()

    async def book() -> None:
        for _ in range(20):
            await book_yesterday(replica, count=1)
        done.set()

    async def rebuild_again_and_again() -> int:
        count = 0
        while not done.is_set():
            await rebuilder.execute("UPDATE rollup_org_day SET call_count = 1")
            await rebuild(rebuilder, day)
            # Whatever is booked meanwhile: in every snapshot the sums are the log's.
            assert await find_differences(rebuilder, day) == []
            count += 1
        return count

    _, rebuilt = await asyncio.gather(book(), rebuild_again_and_again())

    assert rebuilt > 1
    assert await find_differences(admin, day) == []
    assert await admin.fetchval("SELECT call_count FROM rollup_platform_day") == 44
