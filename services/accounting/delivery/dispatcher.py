"""Sends what is due, on every replica: each delivery is claimed by one of them at a time."""

from __future__ import annotations

import asyncio
import datetime as dt
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import asyncpg
import structlog
from opentelemetry.metrics import Meter

from chassis.database import Pool, is_unavailable
from services.accounting.alerts.register import notice, resolve_condition
from services.accounting.delivery.attempts import DeliveryError, Message
from services.accounting.delivery.channels import ChannelKind, Key, read_quiet
from services.accounting.delivery.gate import OPEN, Opening
from services.accounting.delivery.notifications import Notifications
from services.accounting.delivery.vault import Vault, VaultError
from services.accounting.delivery.webhooks import Webhooks
from services.accounting.domain.alerts import Condition
from services.accounting.domain.event_types import Severity
from services.accounting.domain.events import Event
from services.accounting.domain.schedules import QuietHours, hold_back, wait_after
from services.accounting.queries import DELIVERY

# Counts attempts by result: delivered, failed, dead.
DELIVERIES_METRIC: Final = "headgate.accounting.deliveries"
# Longer than any attempt takes, its wait for a courier included.
LEASE: Final = dt.timedelta(seconds=120)
POLL_SECONDS: Final = 1.0
# Attempts under way at once, and of one channel: one that hangs must not hold up all others.
SENDER_COUNT_MAX: Final = 6
SENDER_COUNT_PER_CHANNEL: Final = 2
# Attempts that fail in a row before somebody is told.
FAILURES_TO_TELL: Final = 5

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Claim:
    delivery_id: int
    attempt_count: int
    now: dt.datetime
    severity: Severity
    message: Message
    channel: Key
    kind: ChannelKind
    sealed_url: bytes
    sealed_secrets: tuple[bytes, ...]
    quiet: QuietHours | None


class Dispatcher:
    """Claims deliveries, attempts them, and writes down how it went."""

    def __init__(
        self,
        *,
        pool: Pool,
        vault: Vault,
        webhooks: Webhooks,
        notifications: Notifications,
        metrics: Meter,
        opening: Callable[[], Opening] = lambda: OPEN,
        lease: dt.timedelta = LEASE,
    ) -> None:
        """`opening` says for whom deliveries may leave; all others wait."""
        self._pool = pool
        self._vault = vault
        self._webhooks = webhooks
        self._notifications = notifications
        self._attempts = metrics.create_counter(
            DELIVERIES_METRIC, unit="{attempt}", description="Attempts to deliver, by result."
        )
        self._opening = opening
        self._lease = lease
        self._busy: Counter[str] = Counter()
        # Spreads the waits of many; nothing secret hangs on it.
        self._random = random.Random()  # noqa: S311

    async def run(self) -> None:
        """Delivers until cancelled."""
        while True:
            try:
                await self.deliver_due()
            except Exception as error:
                if not is_unavailable(error):
                    raise
                log.warning("deliveries_not_read", error=type(error).__name__)
            await asyncio.sleep(POLL_SECONDS)

    async def deliver_due(self) -> int:
        """Attempts all that is due; returns how many attempts were made.

        Deliveries that are claimed when it is cancelled are due again when their lease ends.
        """
        attempted = 0
        running: set[asyncio.Task[bool]] = set()
        try:
            while True:
                claim = await self._claim() if len(running) < SENDER_COUNT_MAX else None
                if claim is not None:
                    running.add(asyncio.create_task(self._handle(claim)))
                    continue
                if not running:
                    return attempted
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                attempted += sum([task.result() for task in done])
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def deliver_one(self, delivery_id: int) -> None:
        """Attempts one delivery now, whatever its channel is doing, if it is due."""
        claim = await self._claim(delivery_id)
        if claim is not None:
            await self._attempt(claim)

    async def _claim(self, delivery_id: int | None = None) -> _Claim | None:
        opening = self._opening()
        busy = [each for each, count in self._busy.items() if count >= SENDER_COUNT_PER_CHANNEL]
        exempt = busy if delivery_id is None else []
        row = await self._pool.fetchrow(
            DELIVERY.claim_delivery.sql,
            self._lease,
            exempt,
            delivery_id,
            opening.exceptions,
            opening.by_default,
        )
        return None if row is None else _read_claim(row)

    async def _handle(self, claim: _Claim) -> bool:
        """Attempts unless it is quiet; returns whether it did."""
        name = f"{claim.channel.org}/{claim.channel.channel_id}"
        self._busy[name] += 1
        try:
            until = hold_back(claim.quiet, claim.severity, now=claim.now)
            if until is None:
                await self._attempt(claim)
                return True
            await self._pool.execute(
                DELIVERY.postpone_delivery.sql, claim.delivery_id, claim.attempt_count, until
            )
            return False
        finally:
            self._busy[name] -= 1

    async def _attempt(self, claim: _Claim) -> None:
        try:
            await self._send(claim)
        except DeliveryError as error:
            await self._write_failure(claim, error)
        else:
            await self._write_success(claim)

    async def _send(self, claim: _Claim) -> None:
        place = claim.channel.place
        try:
            url = self._vault.open(claim.sealed_url, place=place)
            secrets = [self._vault.open(each, place=place) for each in claim.sealed_secrets]
        except VaultError as error:
            raise DeliveryError(str(error)) from None
        if claim.kind is ChannelKind.WEBHOOK:
            await self._webhooks.send(url, secrets, claim.message)
        else:
            await self._notifications.send(url, claim.message)

    async def _write_success(self, claim: _Claim) -> None:
        channel = claim.channel
        async with self._pool.acquire() as connection, connection.transaction():
            found = await connection.fetchrow(
                DELIVERY.finish_delivery.sql, claim.delivery_id, claim.attempt_count
            )
            if found is not None and await connection.fetchval(
                DELIVERY.note_success.sql, channel.org, channel.channel_id
            ):
                await resolve_condition(connection, channel.place)
        self._attempts.add(1, {"result": "delivered"})

    async def _write_failure(self, claim: _Claim, error: DeliveryError) -> None:
        wait = None
        if not error.final:
            wait = wait_after(
                claim.attempt_count, fraction=self._random.random(), asked=error.retry_after
            )
        channel = claim.channel
        async with self._pool.acquire() as connection, connection.transaction():
            found = await connection.fetchrow(
                DELIVERY.fail_delivery.sql,
                claim.delivery_id,
                claim.attempt_count,
                str(error),
                wait,
            )
            if found is None:
                return
            failure_count = await connection.fetchval(
                DELIVERY.note_failure.sql, channel.org, channel.channel_id
            )
            if failure_count is not None and (wait is None or failure_count >= FAILURES_TO_TELL):
                await notice(connection, _failing(channel, failure_count, str(error)))
        self._attempts.add(1, {"result": "failed" if wait is not None else "dead"})
        log.warning(
            "delivery_failed",
            channel=channel.place,
            delivery_id=claim.delivery_id,
            attempt_count=claim.attempt_count,
            is_last=wait is None,
            error=str(error),
        )


def _failing(channel: Key, failure_count: int, error: str) -> Condition:
    return Condition(
        key=channel.place,
        event=Event(
            type="notification.failing",
            org=channel.org,
            subject=channel.place,
            title=f"Channel {channel.channel_id} does not take events: {error}",
            data={
                "channel_id": channel.channel_id,
                "failure_count": failure_count,
                "error": error,
            },
        ),
    )


def _read_claim(row: asyncpg.Record) -> _Claim:
    severity = Severity(row["severity"])
    return _Claim(
        delivery_id=row["delivery_id"],
        attempt_count=row["attempt_count"],
        now=row["now"],
        severity=severity,
        message=Message(
            event_id=str(row["event_id"]),
            type=row["type"],
            type_version=row["type_version"],
            severity=severity.name.lower(),
            org=row["event_org"],
            subject=row["subject"],
            title=row["title"],
            data=row["data"],
            create_time=row["create_time"],
            alert_id=row["alert_id"] or 0,
        ),
        channel=Key(org=row["org"], channel_id=row["channel_id"]),
        kind=ChannelKind(row["kind"]),
        sealed_url=row["sealed_url"],
        sealed_secrets=tuple(row["sealed_secrets"]),
        quiet=read_quiet(row),
    )
