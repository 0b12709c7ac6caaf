"""The price book in Postgres."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from chassis.database import Pool
from chassis.errors import AlreadyExists, NotFound
from services.accounting.domain.meters import Meter
from services.accounting.domain.pricebook import (
    CatalogueChange,
    CataloguePrice,
    PriceEntry,
    PriceSource,
    compare_catalogue,
)
from services.accounting.domain.pricing import Price, Rate
from services.accounting.domain.usage import HORIZON
from services.accounting.queries import QUERIES

# Quoted: it is generic for the type checker only.
_Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"

# A price that ended longer ago can price no report any more.
_MEMORY: Final = HORIZON + dt.timedelta(days=1)
_METER_NAMES: Final = {meter: meter.name.lower() for meter in Meter}
_METERS: Final = {name: meter for meter, name in _METER_NAMES.items()}


class PriceStore:
    """Reads and changes prices. Every change makes one new version of the book."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def fetch_today(self) -> dt.date:
        """Returns the database's day in UTC."""
        today: dt.date = await self._pool.fetchval(QUERIES.fetch_today.sql)
        return today

    async def fetch_version(self) -> int:
        """Returns the book's newest version."""
        version: int = await self._pool.fetchval(QUERIES.fetch_book_version.sql)
        return version

    async def list_changes(self, since_version: int) -> tuple[int, list[PriceEntry]]:
        """Returns the book's version and the prices that began or ended since another."""
        rows = await self._pool.fetch(QUERIES.list_price_changes.sql, since_version, _MEMORY)
        return rows[0]["version"], [_entry(row) for row in rows if row["price_id"] is not None]

    async def put_override(
        self, *, provider: str, model: str, org: str, price: Price, audit_id: str
    ) -> PriceEntry:
        """Writes an override in the place of an earlier one; returns it as stored.

        Safe to repeat with the same audit id. Raises AlreadyExists if that id made another change
        of this price.
        """
        target, meters = _target(org, provider, model), _encode(price)
        async with self._pool.acquire() as connection, connection.transaction():
            version = await connection.fetchval(QUERIES.lock_price_book.sql)
            earlier = await _find_change(connection, audit_id, target)
            if earlier is not None:
                if earlier["after"] is None or json.loads(earlier["after"]) != json.loads(meters):
                    raise _reused(audit_id)
                since_version = earlier["version"]
                (row,) = await connection.fetch(
                    QUERIES.find_override.sql, provider, model, org, since_version
                )
            else:
                since_version = version + 1
                before = await connection.fetchval(
                    QUERIES.end_override.sql, provider, model, org, since_version
                )
                (row,) = await connection.fetch(
                    QUERIES.insert_override.sql, provider, model, org, meters, since_version
                )
                await _log_change(connection, audit_id, target, since_version, (before, meters))
        return PriceEntry(
            price_id=row["price_id"],
            provider=provider,
            model=model,
            org=org,
            source=PriceSource.OVERRIDE,
            price=price,
            since_version=since_version,
            until_version=row["until_version"],
            start_time=row["start_time"],
        )

    async def delete_override(self, *, provider: str, model: str, org: str, audit_id: str) -> int:
        """Ends an override; returns the first version without it.

        Safe to repeat with the same audit id. Raises NotFound if there is none in force, and
        AlreadyExists if that id made another change of this price.
        """
        target = _target(org, provider, model)
        async with self._pool.acquire() as connection, connection.transaction():
            version: int = await connection.fetchval(QUERIES.lock_price_book.sql) + 1
            earlier = await _find_change(connection, audit_id, target)
            if earlier is not None:
                if earlier["after"] is not None:
                    raise _reused(audit_id)
                ended_by: int = earlier["version"]
                return ended_by
            before = await connection.fetchval(
                QUERIES.end_override.sql, provider, model, org, version
            )
            if before is None:
                raise NotFound("price", f"{provider}/{model}")
            await _log_change(connection, audit_id, target, version, (before, None))
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
                (row["provider"], row["model"]): _decode(row["meters"])
                for row in await connection.fetch(QUERIES.list_catalogue.sql)
            }
            change = compare_catalogue(stored, offered)
            if change.written:
                version += 1
                providers = [price.provider for price in change.written]
                models = [price.model for price in change.written]
                meters = [_encode(price.price) for price in change.written]
                await connection.execute(QUERIES.end_catalogue.sql, providers, models, version)
                await connection.execute(
                    QUERIES.insert_catalogue.sql, providers, models, meters, version
                )
                await connection.execute(QUERIES.set_book_version.sql, version)
        return version, change


async def _find_change(
    connection: _Connection, audit_id: str, target: str
) -> asyncpg.Record | None:
    return await connection.fetchrow(QUERIES.find_change.sql, audit_id, target)


async def _log_change(
    connection: _Connection,
    audit_id: str,
    target: str,
    version: int,
    change: tuple[str | None, str | None],
) -> None:
    await connection.execute(QUERIES.insert_change.sql, audit_id, target, version, *change)
    await connection.execute(QUERIES.set_book_version.sql, version)


def _reused(audit_id: str) -> AlreadyExists:
    return AlreadyExists(f"audit_id {audit_id} made another change", audit_id=audit_id)


def _target(org: str, provider: str, model: str) -> str:
    return f"price/{org}/{provider}/{model}"


def _encode(price: Price) -> str:
    return json.dumps(
        {
            _METER_NAMES[meter]: {
                "nanos": rate.nanos_per_million,
                **({"tiers": [list(tier) for tier in rate.tiers]} if rate.tiers else {}),
            }
            for meter, rate in price.rates.items()
        }
    )


def _decode(meters: str) -> Price:
    stored: dict[str, dict[str, Any]] = json.loads(meters)
    return Price(
        {
            _METERS[name]: Rate(
                rate["nanos"],
                tuple((threshold, nanos) for threshold, nanos in rate.get("tiers", ())),
            )
            for name, rate in stored.items()
        }
    )


def _entry(row: asyncpg.Record) -> PriceEntry:
    return PriceEntry(
        price_id=row["price_id"],
        provider=row["provider"],
        model=row["model"],
        org=row["org"],
        source=PriceSource(row["source"]),
        price=_decode(row["meters"]),
        since_version=row["since_version"],
        until_version=row["until_version"],
        start_time=row["start_time"],
    )
