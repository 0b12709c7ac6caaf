"""The SQL of API keys. Each function runs the query of its name, and says so where it does not."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Collection
from dataclasses import dataclass

import asyncpg

from gateway.auth import StoredKey
from gateway.principals import Principal, Role, grant_all
from gateway.store import Store, Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecord:
    """What may be shown of a key."""

    key_id: str
    name: str
    role: Role
    # Empty: the whole platform.
    orgs: tuple[str, ...]
    # Empty: all.
    operations: tuple[str, ...]
    create_time: dt.datetime
    expire_time: dt.datetime | None
    revoke_time: dt.datetime | None
    # None: it takes no other key's place.
    replaces: str | None
    # None: never, or it was not asked for.
    use_time: dt.datetime | None = None
    # Place in the list, ascending with time. 0 where it was not asked for.
    position: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedKey:
    """A key that somebody wants."""

    name: str
    role: Role
    orgs: tuple[str, ...]
    operations: tuple[str, ...] = ()
    expire_time: dt.datetime | None = None


class KeyStore:
    """Reads keys and notes their uses, each statement by itself on a pooled connection."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def fetch_key(self, key_id: str) -> StoredKey | None:
        """Returns a key by its public part, valid or not."""
        row = await self._store.row("fetch_key", key_id)
        if row is None:
            return None
        remaining = math.inf if row["remaining_seconds"] is None else row["remaining_seconds"]
        return StoredKey(
            principal=Principal(
                actor=row["key_id"],
                grants=grant_all(Role(row["role"]), row["orgs"]),
                operations=frozenset(row["operations"]),
            ),
            key_hash=row["key_hash"],
            remaining_seconds=0.0 if row["is_revoked"] else remaining,
        )

    async def fetch_key_version(self) -> int:
        """Returns the version of the keys."""
        return int(await self._store.value("fetch_key_version"))

    async def list_keys(self, *, below: int, count_max: int, org: str = "") -> list[KeyRecord]:
        """Returns keys, newest first."""
        rows = await self._store.rows("list_keys", below, count_max, org)
        return [_read(row, use_time=row["use_time"], position=row["position"]) for row in rows]

    async def record_key_uses(self, key_ids: Collection[str]) -> None:
        """Notes that these keys were used by now."""
        await self._store.value("record_key_uses", sorted(key_ids))


async def insert_key(
    on: Transaction, *, key_id: str, wanted: WantedKey, key_hash: bytes
) -> KeyRecord | None:
    """Stores a key; runs `bump_key_version` first. None: its public part exists."""
    await on.value("bump_key_version")
    row = await on.row(
        "insert_key",
        key_id,
        wanted.name,
        wanted.role.value,
        list(wanted.orgs),
        list(wanted.operations),
        key_hash,
        wanted.expire_time,
    )
    return None if row is None else _read(row)


async def lock_key(on: Transaction, key_id: str) -> tuple[KeyRecord, bool] | None:
    """Returns a key and whether it is valid, for the transaction alone; runs `bump_key_version`
    first.
    """
    await on.value("bump_key_version")
    row = await on.row("lock_key", key_id)
    return None if row is None else (_read(row), row["is_valid"])


async def replace_key(
    on: Transaction, old_id: str, *, key_id: str, key_hash: bytes
) -> KeyRecord | None:
    """Stores a key in the place of one that is locked. None: its public part exists."""
    row = await on.row("replace_key", old_id, key_id, key_hash)
    return None if row is None else _read(row)


async def expire_key(on: Transaction, key_id: str, *, after_seconds: float) -> KeyRecord:
    """Lets a locked key end after some seconds."""
    return _read(await on.one("expire_key", key_id, after_seconds))


async def revoke_key(on: Transaction, key_id: str) -> KeyRecord:
    """Revokes a locked key."""
    return _read(await on.one("revoke_key", key_id))


def _read(
    row: asyncpg.Record, *, use_time: dt.datetime | None = None, position: int = 0
) -> KeyRecord:
    return KeyRecord(
        key_id=row["key_id"],
        name=row["name"],
        role=Role(row["role"]),
        orgs=tuple(row["orgs"]),
        operations=tuple(row["operations"]),
        create_time=row["create_time"],
        expire_time=row["expire_time"],
        revoke_time=row["revoke_time"],
        replaces=row["replaces"],
        use_time=use_time,
        position=position,
    )
