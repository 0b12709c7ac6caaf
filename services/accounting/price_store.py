"""The price book in Postgres."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from typing import Final, NamedTuple, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from chassis.database import Pool
from chassis.errors import AlreadyExists, NotFound
from services.accounting.domain.pricebook import (
    CatalogueChange,
    CataloguePrice,
    PriceEntry,
    PriceSource,
    compare_catalogue,
)
from services.accounting.domain.pricing import Price
from services.accounting.domain.usage import HORIZON
from services.accounting.price_codec import decode_price, encode_meters, encode_variants
from services.accounting.queries import QUERIES

# Quoted: it is generic for the type checker only.
_Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"

# A price that ended longer ago can price no report any more.
_MEMORY: Final = HORIZON + dt.timedelta(days=1)
# For pricing the past again: prices are few.
_FOR_EVER: Final = dt.timedelta(days=36_500)


class PriceKey(NamedTuple):
    """What a price is for: a model, or the unpriced models of an operation."""

    provider: str
    model: str
    # Empty: the platform.
    org: str
    # Empty: it is a model's.
    operation: str = ""

    @property
    def target(self) -> str:
        """Its name in the log of changes."""
        name = f"price/{self.org}/{self.provider}/{self.model}"
        return f"{name}/{self.operation}" if self.operation else name


class Override(NamedTuple):
    """A price that staff write."""

    key: PriceKey
    price: Price
    # None: at once.
    effective_time: dt.datetime | None = None


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
                if after is None or json.loads(after) != json.loads(_stored(price)):
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
                await _log_change(connection, audit_id, key, version, (None, _stored(price)))
                return None
            row = await _write_override(connection, override, version + 1, audit_id)
            await connection.execute(QUERIES.set_book_version.sql, version + 1)
        return _as_entry(override, version + 1, row)

    async def import_overrides(
        self, overrides: Sequence[Override], *, audit_id: str, validate_only: bool
    ) -> tuple[int, int]:
        """Writes overrides that differ, all or none, as one version of the book.

        Returns the book's version and how many differed. Safe to repeat.
        """
        async with self._pool.acquire() as connection, connection.transaction():
            version: int = await connection.fetchval(QUERIES.lock_price_book.sql)
            changed = [each for each in overrides if await _differs(connection, each)]
            if changed and not validate_only:
                version += 1
                for override in changed:
                    await _write_override(connection, override, version, audit_id)
                await connection.execute(QUERIES.set_book_version.sql, version)
        return version, len(changed)

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
            before = await connection.fetchrow(QUERIES.end_override.sql, *key, version)
            if before is None:
                raise NotFound("price", f"{key.provider}/{key.model}")
            change = (_stored(decode_price(*before)), None)
            await _log_change(connection, audit_id, key, version, change)
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
                await _write_override(connection, override, version, f"{row['audit_id']}/due")
            await connection.execute(QUERIES.set_book_version.sql, version)
        return version


async def _write_override(
    connection: _Connection, override: Override, version: int, audit_id: str
) -> asyncpg.Record:
    key, price, effective_time = override
    before = await connection.fetchrow(QUERIES.end_override.sql, *key, version)
    (row,) = await connection.fetch(
        QUERIES.insert_override.sql,
        *(*key, encode_meters(price), encode_variants(price), effective_time, version),
    )
    stored = None if before is None else _stored(decode_price(*before))
    await _log_change(connection, audit_id, key, version, (stored, _stored(price)))
    return row


async def _differs(connection: _Connection, override: Override) -> bool:
    row = await connection.fetchrow(QUERIES.find_override_in_force.sql, *override.key)
    return (
        row is None
        or decode_price(row["meters"], row["variants"]) != override.price
        or row["effective_time"] != override.effective_time
    )


async def _find_change(
    connection: _Connection, audit_id: str, target: str
) -> asyncpg.Record | None:
    return await connection.fetchrow(QUERIES.find_change.sql, audit_id, target)


async def _log_change(
    connection: _Connection,
    audit_id: str,
    key: PriceKey,
    version: int,
    change: tuple[str | None, str | None],
) -> None:
    await connection.execute(QUERIES.insert_change.sql, audit_id, key.target, version, *change)


def _reused(audit_id: str) -> AlreadyExists:
    return AlreadyExists(f"audit_id {audit_id} made another change", audit_id=audit_id)


def _stored(price: Price) -> str:
    # As it always was for a price without variants: a repeated change finds itself.
    variants = encode_variants(price)
    if variants is None:
        return encode_meters(price)
    return json.dumps(
        {"meters": json.loads(encode_meters(price)), "variants": json.loads(variants)}
    )


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
