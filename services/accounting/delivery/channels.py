"""Channels in Postgres: where events go. Their secrets are sealed, and leave in no answer."""

from __future__ import annotations

import datetime as dt
import enum
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import urlsplit

import asyncpg

from chassis.database import Pool
from chassis.errors import FailedPrecondition, NotFound, StoreUnavailable
from services.accounting.alerts.outbox import Transaction
from services.accounting.delivery.vault import Vault, VaultError
from services.accounting.domain.event_types import Severity
from services.accounting.domain.schedules import QuietHours
from services.accounting.domain.signatures import SECRET_BYTES, format_secret
from services.accounting.queries import DELIVERY

# While a secret is replaced its predecessor signs too.
SECRET_COUNT_MAX: Final = 2
HIDDEN: Final = "***"


class ChannelKind(enum.IntEnum):
    """How events get to a channel."""

    WEBHOOK = 1
    APPRISE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """A place that gets events."""

    # Empty: the platform.
    org: str
    channel_id: str
    kind: ChannelKind
    # Without secrets.
    shown_url: str
    types: tuple[str, ...]
    severity_min: Severity
    quiet: QuietHours | None
    paused: bool
    create_time: dt.datetime | None = None
    deliver_time: dt.datetime | None = None
    failure_count: int = 0
    sealed_url: bytes = field(default=b"", repr=False)
    sealed_secrets: tuple[bytes, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """Names a channel."""

    org: str
    channel_id: str

    @property
    def place(self) -> str:
        """What its secrets are sealed for, and what events about it are about."""
        return "/".join(each for each in ("channel", self.org, self.channel_id) if each)


class Channels:
    """Reads and changes channels."""

    def __init__(self, pool: Pool, vault: Vault) -> None:
        self._pool = pool
        self._vault = vault

    async def put(self, wanted: Channel, url: str, *, audit_id: str) -> tuple[Channel, str]:
        """Creates or changes a channel; returns it, and a new webhook's secret, once.

        An empty URL leaves it as it was. Raises FailedPrecondition if its kind is another, or if
        no key is configured to seal it with.
        """
        async with self._pool.acquire() as connection, connection.transaction():
            return await self.put_on(connection, wanted, url, audit_id=audit_id)

    async def put_on(
        self, connection: Transaction, wanted: Channel, url: str, *, audit_id: str
    ) -> tuple[Channel, str]:
        """Does what `put` does in the caller's transaction."""
        key = Key(org=wanted.org, channel_id=wanted.channel_id)
        before = await _lock(connection, key)
        if before is not None and before.kind is not wanted.kind:
            message = f"channel {key.channel_id} is of another kind; delete it first"
            raise FailedPrecondition(message, "CHANNEL_KIND_DIFFERS", channel=key.channel_id)
        after, secret = self._seal(key, wanted, url, before)
        is_new = await _log_change(connection, key, audit_id, before, after)
        if is_new:
            query = DELIVERY.insert_channel if before is None else DELIVERY.update_channel
            if not await connection.fetch(query.sql, *_columns(after)):
                # Somebody created it since we looked: a repetition changes it.
                raise StoreUnavailable
        stored = await _lock(connection, key)
        if stored is None:
            raise NotFound("channel", key.channel_id)
        return stored, secret if is_new else ""

    async def rotate_secret(self, key: Key, *, audit_id: str) -> str:
        """Gives a webhook a new secret and returns it; the one before signs too until the next.

        Raises NotFound; FailedPrecondition if the channel has no secret.
        """
        async with self._pool.acquire() as connection, connection.transaction():
            before = await self._require(connection, key)
            if before.kind is not ChannelKind.WEBHOOK:
                message = f"channel {key.channel_id} signs nothing"
                raise FailedPrecondition(message, "CHANNEL_KIND_DIFFERS", channel=key.channel_id)
            secret = _make_secret()
            sealed = (self._seal_text(key, secret), *before.sealed_secrets)[:SECRET_COUNT_MAX]
            after = replace(before, sealed_secrets=sealed)
            if await _log_change(connection, key, audit_id, before, after):
                await connection.fetch(DELIVERY.update_channel.sql, *_columns(after))
                return secret
            return ""

    async def delete(self, key: Key, *, audit_id: str) -> None:
        """Deletes a channel and what waits for it. Raises NotFound."""
        async with self._pool.acquire() as connection, connection.transaction():
            if not await self.delete_on(connection, key, audit_id=audit_id):
                raise NotFound("channel", key.channel_id)

    async def delete_on(self, connection: Transaction, key: Key, *, audit_id: str) -> bool:
        """Deletes a channel in the caller's transaction. False: there is none."""
        before = await _lock(connection, key)
        if before is None:
            return False
        await _log_change(connection, key, audit_id, before, None)
        await connection.fetch(DELIVERY.delete_channel.sql, key.org, key.channel_id)
        return True

    async def list_page(
        self, org: str | None, *, after: tuple[str, str], limit: int
    ) -> Sequence[Channel]:
        """Returns channels in order of org and name; of one org, or of all (None)."""
        rows = await self._pool.fetch(DELIVERY.list_channels.sql, org, *after, limit)
        return [_channel(row) for row in rows]

    async def find(self, key: Key) -> Channel:
        """Returns a channel. Raises NotFound."""
        async with self._pool.acquire() as connection, connection.transaction():
            return await self._require(connection, key)

    def open(self, channel: Channel) -> tuple[str, list[str]]:
        """Returns a channel's URL and its secrets, newest first. Raises VaultError."""
        place = Key(org=channel.org, channel_id=channel.channel_id).place
        opened = [self._vault.open(each, place=place) for each in channel.sealed_secrets]
        return self._vault.open(channel.sealed_url, place=place), opened

    async def _require(self, connection: Transaction, key: Key) -> Channel:
        channel = await _lock(connection, key)
        if channel is None:
            raise NotFound("channel", key.channel_id)
        return channel

    def _seal(
        self, key: Key, wanted: Channel, url: str, before: Channel | None
    ) -> tuple[Channel, str]:
        secret = ""
        if before is not None:
            sealed_url, shown_url = before.sealed_url, before.shown_url
            sealed_secrets = before.sealed_secrets
        else:
            sealed_url, shown_url, sealed_secrets = b"", "", ()
            if wanted.kind is ChannelKind.WEBHOOK:
                secret = _make_secret()
                sealed_secrets = (self._seal_text(key, secret),)
        if url:
            sealed_url, shown_url = self._seal_text(key, url), hide_secrets(url, wanted.kind)
        after = replace(
            wanted, sealed_url=sealed_url, shown_url=shown_url, sealed_secrets=sealed_secrets
        )
        return after, secret

    def _seal_text(self, key: Key, text: str) -> bytes:
        try:
            return self._vault.seal(text, place=key.place)
        except VaultError:
            message = "no key to seal channels with: set HEADGATE_ACCOUNTING_CHANNEL_KEYS"
            raise FailedPrecondition(message, "CHANNEL_KEYS_MISSING") from None


def hide_secrets(url: str, kind: ChannelKind) -> str:
    """Returns what staff may see of a URL: the rest may hold secrets."""
    parts = urlsplit(url)
    if kind is ChannelKind.APPRISE:
        return f"{parts.scheme}://{HIDDEN}"
    port = f":{parts.port}" if parts.port is not None else ""
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}{port}/{HIDDEN}"


def _make_secret() -> str:
    return format_secret(secrets.token_bytes(SECRET_BYTES))


async def _lock(connection: Transaction, key: Key) -> Channel | None:
    row = await connection.fetchrow(DELIVERY.lock_channel.sql, key.org, key.channel_id)
    return None if row is None else _channel(row)


async def _log_change(
    connection: Transaction,
    key: Key,
    audit_id: str,
    before: Channel | None,
    after: Channel | None,
) -> bool:
    row = await connection.fetchrow(
        DELIVERY.insert_channel_change.sql,
        audit_id,
        key.org,
        key.channel_id,
        None if before is None else _describe(before),
        None if after is None else _describe(after),
    )
    return row is not None


def _describe(channel: Channel) -> str:
    """What the change log keeps: no secret, and whether there is another one is no news."""
    quiet = channel.quiet
    facts: dict[str, Any] = {
        "kind": channel.kind.name.lower(),
        "url": channel.shown_url,
        "types": list(channel.types),
        "severity_min": channel.severity_min.name.lower(),
        "paused": channel.paused,
        "quiet_hours": None
        if quiet is None
        else [quiet.start_minute, quiet.end_minute, quiet.time_zone],
    }
    return json.dumps(facts)


def _columns(channel: Channel) -> tuple[object, ...]:
    quiet = channel.quiet
    return (
        channel.org,
        channel.channel_id,
        channel.kind,
        channel.sealed_url,
        list(channel.sealed_secrets),
        channel.shown_url,
        list(channel.types),
        channel.severity_min,
        quiet.start_minute if quiet else None,
        quiet.end_minute if quiet else None,
        quiet.time_zone if quiet else None,
        channel.paused,
    )


def _channel(row: asyncpg.Record) -> Channel:
    return Channel(
        org=row["org"],
        channel_id=row["channel_id"],
        kind=ChannelKind(row["kind"]),
        shown_url=row["shown_url"],
        types=tuple(row["types"]),
        severity_min=Severity(row["severity_min"]),
        quiet=read_quiet(row),
        paused=row["paused"],
        create_time=row["create_time"],
        deliver_time=row["deliver_time"],
        failure_count=row["failure_count"],
        sealed_url=row["sealed_url"],
        sealed_secrets=tuple(row["sealed_secrets"]),
    )


def read_quiet(row: asyncpg.Record) -> QuietHours | None:
    """Returns the quiet hours that a row holds."""
    if row["quiet_time_zone"] is None:
        return None
    return QuietHours(
        start_minute=row["quiet_start_minute"],
        end_minute=row["quiet_end_minute"],
        time_zone=row["quiet_time_zone"],
    )
