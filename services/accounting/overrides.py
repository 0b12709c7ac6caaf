"""Overrides of prices in Postgres: each written, ended and logged in its caller's transaction."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from services.accounting.domain.pricing import Price
from services.accounting.price_codec import decode_price, encode_meters, encode_variants
from services.accounting.queries import QUERIES

# Quoted: it is generic for the type checker only.
Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"


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


async def change_overrides(
    connection: Connection,
    overrides: Iterable[Override],
    *,
    deleted: Iterable[PriceKey] = (),
    audit_id: str,
) -> tuple[int, int]:
    """Writes overrides that differ, and ends others if they are there, as one version of the book.

    Runs in the caller's transaction. Returns the book's version and how many differed.
    """
    version: int = await connection.fetchval(QUERIES.lock_price_book.sql) + 1
    changed = [each for each in overrides if await _differs(connection, each)]
    for override in changed:
        await write_override(connection, override, version, audit_id)
    ended_count = 0
    for key in deleted:
        ended_count += await end_override(connection, key, version, audit_id)
    if not (changed or ended_count):
        return version - 1, 0
    await connection.execute(QUERIES.set_book_version.sql, version)
    return version, len(changed)


async def end_override(connection: Connection, key: PriceKey, version: int, audit_id: str) -> bool:
    """Ends an override from a version of the book on. False: there is none in force."""
    before = await connection.fetchrow(QUERIES.end_override.sql, *key, version)
    if before is None:
        return False
    change = (describe_price(decode_price(*before)), None)
    await log_change(connection, audit_id, key, version, change)
    return True


async def write_override(
    connection: Connection, override: Override, version: int, audit_id: str
) -> asyncpg.Record:
    """Writes an override in the place of an earlier one; returns what the database set of it."""
    key, price, effective_time = override
    before = await connection.fetchrow(QUERIES.end_override.sql, *key, version)
    (row,) = await connection.fetch(
        QUERIES.insert_override.sql,
        *(*key, encode_meters(price), encode_variants(price), effective_time, version),
    )
    stored = None if before is None else describe_price(decode_price(*before))
    await log_change(connection, audit_id, key, version, (stored, describe_price(price)))
    return row


async def _differs(connection: Connection, override: Override) -> bool:
    row = await connection.fetchrow(QUERIES.find_override_in_force.sql, *override.key)
    return (
        row is None
        or decode_price(row["meters"], row["variants"]) != override.price
        or row["effective_time"] != override.effective_time
    )


async def log_change(
    connection: Connection,
    audit_id: str,
    key: PriceKey,
    version: int,
    change: tuple[str | None, str | None],
) -> None:
    """Keeps what a price was and is."""
    await connection.execute(QUERIES.insert_change.sql, audit_id, key.target, version, *change)


def describe_price(price: Price) -> str:
    """Returns a price as the log of changes keeps it."""
    # As it always was for a price without variants: a repeated change finds itself.
    variants = encode_variants(price)
    if variants is None:
        return encode_meters(price)
    return json.dumps(
        {"meters": json.loads(encode_meters(price)), "variants": json.loads(variants)}
    )
