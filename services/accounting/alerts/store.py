"""What staff see of alerts and events, and what they do about them."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from chassis.database import Pool
from chassis.errors import FailedPrecondition, NotFound
from services.accounting.alerts.outbox import write_once
from services.accounting.domain.alerts import AlertAction, AlertState
from services.accounting.domain.event_types import Severity
from services.accounting.domain.events import Event
from services.accounting.queries import ALERTS, QUERIES

CHANGE_COUNT_MAX = 1_000
MUTE_COUNT_MAX = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertQuery:
    """Which alerts to list: those below a number, newest first."""

    below: int
    # None: any.
    org: str | None
    # None: any.
    state: AlertState | None
    resolved_too: bool
    severity_min: Severity
    # Empty: all.
    type: str
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EventQuery:
    """Which events to list: those below a number, newest first."""

    below: int
    # None: any.
    org: str | None
    # Empty: all.
    type: str
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StaffChange:
    """What somebody does about an alert."""

    alert_id: int
    # Org that it must be about. None: any.
    org: str | None
    note: str
    actor: str
    audit_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MuteOrder:
    """What somebody wants to hear nothing of."""

    mute_id: uuid.UUID
    type: str
    org: str
    subject: str
    duration: dt.timedelta
    reason: str
    actor: str
    audit_id: str


class AlertStore:
    """Reads and changes alerts, mutes and events. Rows leave it as the wire renders them."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def list_alerts(self, query: AlertQuery) -> Sequence[asyncpg.Record]:
        """Returns alerts, newest first."""
        return await self._pool.fetch(
            ALERTS.list_alerts.sql,
            query.below,
            query.state or 0,
            query.org,
            query.severity_min,
            query.type,
            query.state is None and not query.resolved_too,
            query.limit,
        )

    async def get_alert(
        self, alert_id: int, org: str | None
    ) -> tuple[asyncpg.Record, Sequence[asyncpg.Record]]:
        """Returns an alert and its history, oldest first. Raises NotFound."""
        alert = await self._pool.fetchrow(ALERTS.get_alert.sql, alert_id, org)
        if alert is None:
            raise NotFound("alert", str(alert_id))
        changes = await self._pool.fetch(ALERTS.list_alert_changes.sql, alert_id, CHANGE_COUNT_MAX)
        return alert, changes

    async def acknowledge(self, change: StaffChange) -> asyncpg.Record:
        """Takes an alert on; returns it. Raises NotFound, FailedPrecondition if it is over."""
        query = ALERTS.acknowledge_alert.sql
        alert = await self._change(query, AlertAction.ACKNOWLEDGED, change)
        if alert["state"] == AlertState.RESOLVED and not await self._is_done(change):
            raise FailedPrecondition(
                f"alert {change.alert_id} is resolved",
                "ALERT_RESOLVED",
                alert=str(change.alert_id),
            )
        return alert

    async def resolve(self, change: StaffChange) -> asyncpg.Record:
        """Ends an alert; returns it. Raises NotFound."""
        return await self._change(ALERTS.resolve_alert.sql, AlertAction.RESOLVED, change)

    async def create_mute(self, order: MuteOrder) -> asyncpg.Record:
        """Mutes; returns the mute, the earlier one if its id was known."""
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.fetch(
                ALERTS.insert_mute.sql,
                order.mute_id,
                order.type,
                order.org,
                order.subject,
                order.duration,
                order.reason,
                order.actor,
                order.audit_id,
            )
            row = await connection.fetchrow(ALERTS.get_mute.sql, order.mute_id)
        if row is None:
            raise NotFound("mute", str(order.mute_id))
        return row

    async def delete_mute(self, mute_id: uuid.UUID, org: str | None, *, audit_id: str) -> None:
        """Ends a mute. Raises NotFound."""
        async with self._pool.acquire() as connection, connection.transaction():
            if await connection.fetchval(ALERTS.delete_mute.sql, mute_id, org) is None:
                raise NotFound("mute", str(mute_id))
            target = f"mute/{mute_id}"
            await connection.execute(QUERIES.insert_order.sql, audit_id, target, None, None)

    async def list_mutes(self, org: str | None) -> Sequence[asyncpg.Record]:
        """Returns the mutes in force, newest first."""
        return await self._pool.fetch(ALERTS.list_mutes.sql, org, MUTE_COUNT_MAX)

    async def record_event(self, event: Event, event_id: uuid.UUID) -> bool:
        """Writes what another service noticed. False: it was written before."""
        return await write_once(self._pool, event, event_id=event_id)

    async def list_events(self, query: EventQuery) -> Sequence[asyncpg.Record]:
        """Returns events, newest first."""
        return await self._pool.fetch(
            ALERTS.list_events.sql, query.below, query.org, query.type, query.limit
        )

    async def _change(
        self, query: str, action: AlertAction, change: StaffChange
    ) -> asyncpg.Record:
        async with self._pool.acquire() as connection, connection.transaction():
            found = await connection.fetchval(query, change.alert_id, change.actor, change.org)
            if found is not None:
                await connection.execute(
                    ALERTS.insert_alert_change.sql,
                    change.alert_id,
                    action,
                    change.actor,
                    change.note,
                    change.audit_id,
                )
            alert = await connection.fetchrow(ALERTS.get_alert.sql, change.alert_id, change.org)
        if alert is None:
            raise NotFound("alert", str(change.alert_id))
        return alert

    async def _is_done(self, change: StaffChange) -> bool:
        """Whether an earlier RPC of the same audit entry did it; it may be resolved since."""
        found = await self._pool.fetchval(
            ALERTS.find_alert_change.sql, change.alert_id, change.audit_id
        )
        return found is not None
