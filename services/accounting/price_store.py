"""The price book in Postgres."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from typing import Final

import asyncpg

from chassis.database import Pool, changing
from chassis.errors import AlreadyExists, NotFound
from services.accounting.domain.pricebook import (
    CatalogueChange,
    CataloguePrice,
    PriceEntry,
    PriceSource,
    compare_catalogue,
)
from services.accounting.domain.usage import HORIZON
from services.accounting.overrides import (
    Connection,
    Override,
    PriceKey,
    change_overrides,
    describe_price,
    end_override,
    log_change,
    write_override,
)
from services.accounting.price_codec import decode_price, encode_meters, encode_variants
from services.accounting.queries import QUERIES

# A price that ended longer ago can price no report any more.
_MEMORY: Final = HORIZON + dt.timedelta(days=1)
# For pricing the past again: prices are few.
_FOR_EVER: Final = dt.timedelta(days=36_500)


class PriceStore:
    """Reads and changes prices. Every change makes one new version of the book."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def fetch_today(self) -> dt.date:
        """Returns the database's day in UTC."""
        today: dt.date = await self._pool.fetchval(QUERIES.fetch_today.sql)
        return today

    async def fetch_version(self) -> int:
        """Returns the book's newest version; makes overrides prices whose time has come."""
        (row,) = await self._pool.fetch(QUERIES.fetch_book_version.sql)
        return await self._take_due() if row["is_due"] else int(row["version"])

    async def list_changes(
        self, since_version: int, *, ended_too: bool = False
    ) -> tuple[int, list[PriceEntry]]:
        """Returns the book's version and the prices that began or ended since another.

        Without those that can price no report any more, unless `ended_too`.
        """
        memory = _FOR_EVER if ended_too else _MEMORY
        rows = await self._pool.fetch(QUERIES.list_price_changes.sql, since_version, memory)
        return rows[0]["version"], [_entry(row) for row in rows if row["price_id"] is not None]

    async def put_override(self, override: Override, *, audit_id: str) -> PriceEntry | None:
        """Writes an override in the place of an earlier one; returns it as stored.

        Returns None if it takes effect later. Safe to repeat with the same audit id. Raises
        AlreadyExists if that id made another change of this price.
        """
        key, price, _ = override
        async with self._pool.acquire() as connection, connection.transaction():
            version = await connection.fetchval(QUERIES.lock_price_book.sql)
            earlier = await _find_change(connection, audit_id, key.target)
            if earlier is not None:
                after = earlier["after"]
                if after is None or json.loads(after) != json.loads(describe_price(price)):
                    raise _reused(audit_id)
                version = earlier["version"]
                row = await connection.fetchrow(QUERIES.find_override.sql, *key, version)
                return None if row is None else _as_entry(override, version, row)
            now = await connection.fetchval(QUERIES.fetch_clock.sql)
            if override.effective_time is not None and override.effective_time > now:
                await connection.execute(
                    QUERIES.schedule_override.sql,
                    *(*key, override.effective_time),
                    *(encode_meters(price), encode_variants(price), audit_id),
                )
                await log_change(connection, audit_id, key, version, (None, describe_price(price)))
                return None
            row = await write_override(connection, override, version + 1, audit_id)
            await connection.execute(QUERIES.set_book_version.sql, version + 1)
        return _as_entry(override, version + 1, row)

    async def import_overrides(
        self, overrides: Sequence[Override], *, audit_id: str, validate_only: bool
    ) -> tuple[int, int]:
        """Writes overrides that differ, all or none, as one version of the book.

        Returns the book's version and how many differed. Safe to repeat.
        """
        async with changing(self._pool, keep=not validate_only) as connection:
            before: int = await connection.fetchval(QUERIES.lock_price_book.sql)
            version, count = await change_overrides(connection, overrides, audit_id=audit_id)
        return before if validate_only else version, count

    async def delete_override(self, key: PriceKey, *, audit_id: str) -> int:
        """Ends an override; returns the first version without it.

        Safe to repeat with the same audit id. Raises NotFound if there is none in force, and
        AlreadyExists if that id made another change of this price.
        """
        async with self._pool.acquire() as connection, connection.transaction():
            version: int = await connection.fetchval(QUERIES.lock_price_book.sql) + 1
            earlier = await _find_change(connection, audit_id, key.target)
            if earlier is not None:
                if earlier["after"] is not None:
                    raise _reused(audit_id)
                ended_by: int = earlier["version"]
                return ended_by
            if not await end_override(connection, key, version, audit_id):
                raise NotFound("price", f"{key.provider}/{key.model}")
            await connection.execute(QUERIES.set_book_version.sql, version)
        return version

    async def import_catalogue(
        self, offered: Sequence[CataloguePrice]
    ) -> tuple[int, CatalogueChange]:
        """Writes what differs from the stored catalogue, as one version, or none if nothing does.

        A model that is not offered keeps its last price. Returns the book's version and what was
        done.
        """
        async with self._pool.acquire() as connection, connection.transaction():
            version: int = await connection.fetchval(QUERIES.lock_price_book.sql)
            stored = {
                (row["provider"], row["model"]): decode_price(row["meters"], row["variants"])
                for row in await connection.fetch(QUERIES.list_catalogue.sql)
            }
            change = compare_catalogue(stored, offered)
            if change.written:
                version += 1
                providers = [price.provider for price in change.written]
                models = [price.model for price in change.written]
                meters = [encode_meters(price.price) for price in change.written]
                variants = [encode_variants(price.price) for price in change.written]
                await connection.execute(QUERIES.end_catalogue.sql, providers, models, version)
                await connection.execute(
                    QUERIES.insert_catalogue.sql, providers, models, meters, variants, version
                )
                await connection.execute(QUERIES.set_book_version.sql, version)
        return version, change

    async def _take_due(self) -> int:
        async with self._pool.acquire() as connection, connection.transaction():
            version: int = await connection.fetchval(QUERIES.lock_price_book.sql)
            due = await connection.fetch(QUERIES.take_due_overrides.sql)
            for row in sorted(due, key=lambda row: row["effective_time"]):
                version += 1
                key = PriceKey(row["provider"], row["model"], row["org"], row["operation"])
                price = decode_price(row["meters"], row["variants"])
                override = Override(key, price, row["effective_time"])
                # The change by its audit id was logged when it was scheduled.
                await write_override(connection, override, version, f"{row['audit_id']}/due")
            await connection.execute(QUERIES.set_book_version.sql, version)
        return version


async def _find_change(
    connection: Connection, audit_id: str, target: str
) -> asyncpg.Record | None:
    return await connection.fetchrow(QUERIES.find_change.sql, audit_id, target)


def _reused(audit_id: str) -> AlreadyExists:
    return AlreadyExists(f"audit_id {audit_id} made another change", audit_id=audit_id)


def _as_entry(override: Override, version: int, row: asyncpg.Record) -> PriceEntry:
    key, price, effective_time = override
    return PriceEntry(
        price_id=row["price_id"],
        provider=key.provider,
        model=key.model,
        org=key.org,
        source=PriceSource.OVERRIDE,
        price=price,
        since_version=version,
        until_version=row["until_version"],
        start_time=row["start_time"],
        end_time=row["end_time"],
        operation=key.operation,
        effective_time=effective_time,
    )


def _entry(row: asyncpg.Record) -> PriceEntry:
    return PriceEntry(
        price_id=row["price_id"],
        provider=row["provider"],
        model=row["model"],
        org=row["org"],
        source=PriceSource(row["source"]),
        price=decode_price(row["meters"], row["variants"]),
        since_version=row["since_version"],
        until_version=row["until_version"],
        start_time=row["start_time"],
        end_time=row["end_time"],
        operation=row["operation"],
        effective_time=row["effective_time"],
    )
