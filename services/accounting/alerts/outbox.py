"""The outbox: events, written with their deliveries in the transaction that caused them."""

from __future__ import annotations

import json
import uuid
from typing import TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from chassis.database import Connection, Pool
from services.accounting.domain.alerts import Mute, is_muted
from services.accounting.domain.event_types import Facts
from services.accounting.domain.events import Event
from services.accounting.queries import ALERTS

# Quoted: it is generic for the type checker only.
Transaction: TypeAlias = "Connection | PoolConnectionProxy[asyncpg.Record]"


async def write_event(
    transaction: Transaction,
    event: Event,
    *,
    alert_id: int | None = None,
    event_id: uuid.UUID | None = None,
) -> uuid.UUID:
    """Writes an event and its deliveries; returns its id. What is muted has no deliveries."""
    rows = await transaction.fetch(ALERTS.list_active_mutes.sql)
    mutes = [Mute(type=row["type"], org=row["org"], subject=row["subject"]) for row in rows]
    muted = is_muted(event, mutes)
    return await _insert(transaction, event, alert_id=alert_id, muted=muted, event_id=event_id)


async def write_once(pool: Pool, event: Event, *, event_id: uuid.UUID) -> bool:
    """Writes an event with an id of its own, and its deliveries. False: it was written before."""
    try:
        async with pool.acquire() as connection, connection.transaction():
            await write_event(connection, event, event_id=event_id)
    except asyncpg.UniqueViolationError:
        return False
    return True


async def write_quietly(transaction: Transaction, event: Event) -> uuid.UUID:
    """Writes an event that no channel gets by itself; returns its id."""
    return await _insert(transaction, event, alert_id=None, muted=True)


def encode_facts(facts: Facts) -> str:
    """Returns facts as JSON, in a fixed order."""
    return json.dumps(facts, sort_keys=True, ensure_ascii=False)


async def _insert(
    transaction: Transaction,
    event: Event,
    *,
    alert_id: int | None,
    muted: bool,
    event_id: uuid.UUID | None = None,
) -> uuid.UUID:
    event_id = event_id or uuid.uuid4()
    await transaction.fetch(
        ALERTS.insert_event.sql,
        event_id,
        event.type,
        event.version,
        event.weight,
        event.org,
        event.subject,
        event.title,
        encode_facts(event.data),
        alert_id,
        muted,
    )
    return event_id
