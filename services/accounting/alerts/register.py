"""The register of alerts: conditions are noticed, taken on, and resolved."""

from __future__ import annotations

from typing import Final

import structlog

from services.accounting.alerts.outbox import Transaction, encode_facts, write_event
from services.accounting.domain.alerts import (
    AlertAction,
    AlertState,
    Condition,
    Standing,
    decide_again,
)
from services.accounting.domain.event_types import Severity
from services.accounting.queries import ALERTS

# Alerts that resolve by time in one transaction.
EXPIRE_COUNT_MAX: Final = 500
# An alert may be resolved between our insert and our look at it, and once more.
_ROUND_COUNT_MAX: Final = 10

log = structlog.get_logger()


async def notice(transaction: Transaction, condition: Condition) -> AlertAction | None:
    """Writes down that a condition is there; returns how it was told, None: not this time.

    Whoever notices it at the same time on another replica waits for this transaction's end, and
    then finds its alert.
    """
    event = condition.event
    for _ in range(_ROUND_COUNT_MAX):
        alert_id = await transaction.fetchval(
            ALERTS.insert_alert.sql,
            condition.key,
            condition.once,
            event.type,
            event.weight,
            event.org,
            event.subject,
            event.title,
            encode_facts(event.data),
            condition.expire_time,
        )
        if alert_id is not None:
            await _tell(transaction, alert_id, condition, AlertAction.RAISED)
            return AlertAction.RAISED
        row = await transaction.fetchrow(ALERTS.lock_alert_of_condition.sql, condition.key)
        if row is not None:
            standing = Standing(
                state=AlertState(row["state"]),
                severity=Severity(row["severity"]),
                notify_time=row["notify_time"],
            )
            action = decide_again(standing, event.weight, now=row["now"])
            if standing.state is not AlertState.RESOLVED:
                await _note_again(transaction, row["alert_id"], condition, action)
            return action
    raise AssertionError("somebody resolves this alert faster than it is raised")


async def resolve_condition(transaction: Transaction, key: str) -> bool:
    """Resolves the alert of a condition that is gone; returns whether there was one."""
    rows = await transaction.fetch(ALERTS.resolve_condition.sql, key)
    for row in rows:
        await _write_change(transaction, row["alert_id"], AlertAction.RESOLVED)
    return bool(rows)


async def resolve_expired(transaction: Transaction) -> int:
    """Resolves alerts whose time has passed; returns how many."""
    rows = await transaction.fetch(ALERTS.resolve_expired.sql, EXPIRE_COUNT_MAX)
    for row in rows:
        await _write_change(transaction, row["alert_id"], AlertAction.RESOLVED)
    return len(rows)


async def list_active_keys(transaction: Transaction, beginning: str) -> set[str]:
    """Returns the keys of conditions with this beginning that have an alert."""
    rows = await transaction.fetch(ALERTS.list_active_keys.sql, beginning)
    return {row["alert_key"] for row in rows}


async def _note_again(
    transaction: Transaction, alert_id: int, condition: Condition, action: AlertAction | None
) -> None:
    event = condition.event
    await transaction.execute(
        ALERTS.note_condition_again.sql,
        alert_id,
        event.weight,
        event.title,
        encode_facts(event.data),
        condition.expire_time,
        action is not None,
    )
    if action is not None:
        await _tell(transaction, alert_id, condition, action)


async def _tell(
    transaction: Transaction, alert_id: int, condition: Condition, action: AlertAction
) -> None:
    event = condition.event
    await _write_change(transaction, alert_id, action)
    await write_event(transaction, event, alert_id=alert_id)
    log.info("alert_told", alert_id=alert_id, type=event.type, action=action.name.lower())


async def _write_change(transaction: Transaction, alert_id: int, action: AlertAction) -> None:
    await transaction.execute(ALERTS.insert_alert_change.sql, alert_id, action, "", "", "")
