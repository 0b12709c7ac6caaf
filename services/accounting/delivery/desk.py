"""What staff do with channels: write them, try them, and replay what they missed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import asyncpg

from chassis.database import Pool
from chassis.errors import NotFound
from services.accounting.alerts.outbox import Transaction, write_quietly
from services.accounting.delivery import wire
from services.accounting.delivery.attempts import DeliveryError
from services.accounting.delivery.channels import Channel, ChannelKind, Channels, Key
from services.accounting.delivery.dispatcher import Dispatcher
from services.accounting.delivery.notifications import Notifications
from services.accounting.delivery.webhooks import Webhooks
from services.accounting.delivery.wire import DeliveryQuery
from services.accounting.domain.events import Event
from services.accounting.queries import DELIVERY, QUERIES

REPLAY_COUNT_MAX: Final = 10_000


class Desk:
    """Checks and carries out what staff want of channels."""

    def __init__(
        self,
        *,
        pool: Pool,
        channels: Channels,
        dispatcher: Dispatcher,
        webhooks: Webhooks,
        notifications: Notifications,
    ) -> None:
        self._pool = pool
        self.channels = channels
        self._dispatcher = dispatcher
        self._webhooks = webhooks
        self._notifications = notifications

    async def put(self, channel: Channel, url: str, *, audit_id: str) -> tuple[Channel, str]:
        """Writes a channel as `Channels.put` does. Raises InvalidArgument for an unfit URL."""
        problem = await self.check_url(channel, url)
        if problem is not None:
            raise wire.refuse_url(problem)
        return await self.channels.put(channel, url, audit_id=audit_id)

    async def test(self, key: Key, *, actor: str, audit_id: str) -> asyncpg.Record:
        """Sends a test event now; returns its delivery. Raises NotFound."""
        channel = await self.channels.find(key)
        event = Event(
            type="notification.test",
            org=channel.org,
            subject=key.place,
            title=f"A test of channel {key.channel_id}, by {actor}",
            data={"channel_id": key.channel_id, "actor": actor},
        )
        async with self._pool.acquire() as connection, connection.transaction():
            delivery_id = await _write_test(connection, event, key)
            await _log_order(connection, key, audit_id)
        await self._dispatcher.deliver_one(delivery_id)
        rows = await self._pool.fetch(
            DELIVERY.list_deliveries.sql, delivery_id + 1, key.org, key.channel_id, 0, None, 1
        )
        if not rows:
            raise NotFound("channel", key.channel_id)
        return rows[0]

    async def replay(self, key: Key, delivery_id: int, *, audit_id: str) -> int:
        """Lets ended deliveries start anew; 0: all that are dead. Raises NotFound."""
        await self.channels.find(key)
        async with self._pool.acquire() as connection, connection.transaction():
            rows = await connection.fetch(
                DELIVERY.replay_deliveries.sql,
                key.org,
                key.channel_id,
                delivery_id,
                delivery_id == 0,
                REPLAY_COUNT_MAX,
            )
            await _log_order(connection, key, audit_id)
        return len(rows)

    async def list_deliveries(self, query: DeliveryQuery) -> Sequence[asyncpg.Record]:
        """Returns deliveries, newest first."""
        return await self._pool.fetch(
            DELIVERY.list_deliveries.sql,
            query.below,
            query.org,
            query.channel_id,
            query.state,
            query.event_id,
            query.limit,
        )

    async def check_url(self, channel: Channel, url: str) -> str | None:
        """Returns what is wrong with a channel's URL. Empty: as it was, if there is one."""
        if not url:
            try:
                await self.channels.find(Key(org=channel.org, channel_id=channel.channel_id))
            except NotFound:
                return "required: where do events go?"
            return None
        if channel.kind is ChannelKind.WEBHOOK:
            return self._webhooks.check_url(url)
        try:
            return await self._notifications.check_url(url)
        except DeliveryError as error:
            return str(error)


async def _log_order(connection: Transaction, key: Key, audit_id: str) -> None:
    await connection.execute(QUERIES.insert_order.sql, audit_id, key.place, None, None)


async def _write_test(connection: Transaction, event: Event, key: Key) -> int:
    """Writes a test event with one delivery: to the channel that it is about."""
    event_id = await write_quietly(connection, event)
    delivery_id: int = await connection.fetchval(
        DELIVERY.insert_delivery.sql, event_id, key.org, key.channel_id
    )
    return delivery_id
