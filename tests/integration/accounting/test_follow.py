"""Every process has the newest price book, soon or when it is asked for it."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest
from pydantic import SecretStr

from chassis.database import Connection
from services.accounting.config import AccountingSettings
from services.accounting.domain.usage import Booking
from tests.integration.accounting.cable import plugged
from tests.integration.accounting.replicas import Open, Replica, open_replica
from tests.integration.accounting.samples import MODEL, PROVIDER, put_price, report, sample_price
from tests.schemas import runtime_url


@pytest.fixture(autouse=True)
def poll_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.accounting.prices.POLL_SECONDS", 0.001)


async def cost(replica: Replica, version: int) -> int:
    (answer,) = await replica.ledger.record([report(price_version=version)])
    assert isinstance(answer, Booking), answer
    return answer.total_nanos


async def wait_for(replica: Replica, version: int) -> None:
    async with asyncio.timeout(5):
        while (await replica.prices.book_of(0)).version < version:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.001)


async def test_a_replica_that_lags_behind_reads_the_version_it_is_asked_for(start: Open) -> None:
    behind, ahead = await start(), await start()
    entry = await put_price(
        ahead.prices, provider=PROVIDER, model=MODEL, org="", price=sample_price(7), audit_id="a"
    )

    assert (await behind.prices.book_of(0)).version == 1
    assert await cost(behind, entry.since_version) == 7 * 110
    assert (await behind.prices.book_of(0)).version == 2


async def test_a_replica_follows_changes_by_itself(
    start: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.accounting.prices.POLL_SECONDS", 0.001)
    behind, ahead = await start(), await start()
    following = asyncio.create_task(behind.prices.follow())
    await put_price(
        ahead.prices, provider=PROVIDER, model=MODEL, org="", price=sample_price(7), audit_id="a"
    )

    async with asyncio.timeout(5):
        while (await behind.prices.book_of(0)).version == 1:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.001)
    following.cancel()

    await asyncio.wait({following})
    assert following.cancelled()


async def test_a_follower_outlives_a_database_that_is_away(
    start: Open, settings: AccountingSettings, database_url: str
) -> None:
    ahead = await start()
    async with plugged(runtime_url(database_url, "accounting")) as (cable, url):
        there = settings.model_copy(update={"database_url": SecretStr(url)})
        async with open_replica(there) as behind:
            following = asyncio.create_task(behind.prices.follow())
            cable.unplugged = True
            cable.cut()
            await put_price(
                ahead.prices,
                provider=PROVIDER,
                model=MODEL,
                org="",
                price=sample_price(7),
                audit_id="a",
            )
            with pytest.raises((OSError, asyncpg.PostgresConnectionError)):
                await behind.prices.refresh()
            cable.unplugged = False
            await wait_for(behind, 2)
            following.cancel()
            await asyncio.wait({following})


async def test_a_follower_ends_over_a_bug(replica: Replica, admin: Connection) -> None:
    await admin.execute("ALTER TABLE price_book RENAME TO elsewhere")
    try:
        with pytest.raises(asyncpg.UndefinedTableError):
            await replica.prices.follow()
    finally:
        await admin.execute("ALTER TABLE elsewhere RENAME TO price_book")
