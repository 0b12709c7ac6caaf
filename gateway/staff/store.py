"""The SQL of staff. Each function runs the query of its name, and says so where it does not."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from dataclasses import dataclass

import asyncpg

from gateway.auth import StoredSession
from gateway.principals import Grant, Principal, Role
from gateway.store import Store, Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberRecord:
    """What may be shown of somebody."""

    staff_id: str
    email: str
    name: str
    grants: tuple[Grant, ...]
    create_time: dt.datetime
    disable_time: dt.datetime | None
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InvitationRecord:
    """What may be shown of an invitation."""

    invitation_id: str
    email: str
    # None: it makes a new account.
    staff_id: str | None
    grants: tuple[Grant, ...]
    inviter: str
    create_time: dt.datetime
    expire_time: dt.datetime
    accept_time: dt.datetime | None
    revoke_time: dt.datetime | None
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPassword:
    """Whose password it is."""

    staff_id: str
    password_hash: str
    is_disabled: bool


class StaffStore:
    """Reads staff and notes uses, each statement by itself on a pooled connection."""

    def __init__(self, store: Store, *, idle_seconds: float) -> None:
        """`idle_seconds`: a session that nobody uses ends after so long."""
        self._store = store
        self._idle_seconds = idle_seconds

    async def fetch_session(self, token_hash: bytes) -> StoredSession | None:
        """Returns a session by its token's digest; runs `fetch_staff_session`."""
        row = await self._store.row("fetch_staff_session", token_hash, self._idle_seconds)
        if row is None:
            return None
        return StoredSession(
            principal=Principal(actor=row["staff_id"], grants=_read_grants(row)),
            expire_time=row["expire_time"],
            remaining_seconds=row["remaining_seconds"],
        )

    async def record_session_uses(self, token_hashes: Collection[bytes]) -> None:
        """Notes that these sessions were used by now."""
        await self._store.value("record_session_uses", sorted(token_hashes))

    async def fetch_password(self, email: str) -> StoredPassword | None:
        """Returns whose password an address has."""
        row = await self._store.row("fetch_password", email)
        return None if row is None else StoredPassword(**dict(row))

    async def fetch_login_lock(self, email_hash: bytes) -> float:
        """Returns the seconds for which an address is locked yet."""
        return float(await self._store.value("fetch_login_lock", email_hash) or 0.0)

    async def forget_login_failures(self, email_hash: bytes) -> None:
        """Forgets the failures of an address; prunes what counts no more."""
        await self._store.value("forget_login_failures", email_hash)
        await self._store.value("prune_login_failures")

    async def renew_password_hash(self, stored: StoredPassword, password_hash: str) -> None:
        """Stores another hash of the same password, unless that was changed meanwhile."""
        values = (stored.staff_id, stored.password_hash, password_hash)
        await self._store.value("renew_password_hash", *values)

    async def find_invitation(self, token_hash: bytes) -> tuple[str, str | None] | None:
        """Returns which invitation a secret is good for, and whose password it resets, if any."""
        row = await self._store.row("find_invitation", token_hash)
        return None if row is None else (row["invitation_id"], row["staff_id"])

    async def is_bootstrap_open(self, token_hash: bytes) -> bool:
        """Says whether the installation's token makes the first admin yet."""
        return bool(await self._store.value("is_bootstrap_open", token_hash))

    async def fetch_staff(self, staff_id: str) -> MemberRecord | None:
        """Returns somebody with their roles."""
        row = await self._store.row("fetch_staff", staff_id)
        return None if row is None else _read_member(row)

    async def list_staff(self, *, below: int, count_max: int, org: str) -> list[MemberRecord]:
        """Returns staff, newest first."""
        rows = await self._store.rows("list_staff", below, count_max, org)
        return [_read_member(row) for row in rows]

    async def list_invitations(
        self, *, below: int, count_max: int, org: str
    ) -> list[InvitationRecord]:
        """Returns invitations, newest first."""
        rows = await self._store.rows("list_invitations", below, count_max, org)
        return [_read_invitation(row) for row in rows]


class StaffTransaction:
    """What changes of staff inside one transaction, which queues behind all other changes of keys
    and staff: the gateways forget what they remember when it commits.
    """

    def __init__(self, on: Transaction) -> None:
        self._on = on

    async def begin(self) -> None:
        """Makes the gateways forget; first in every transaction. Runs `bump_key_version`."""
        await self._on.value("bump_key_version")

    async def insert_staff(
        self, *, staff_id: str, email: str, name: str, password_hash: str
    ) -> bool:
        """Makes an account, and says whether the address had none."""
        return (
            await self._on.value("insert_staff", staff_id, email, name, password_hash) is not None
        )

    async def put_grants(self, staff_id: str, grants: tuple[Grant, ...]) -> None:
        """Replaces somebody's roles; runs `delete_grants` and `insert_grants`."""
        await self._on.value("delete_grants", staff_id)
        await self._on.value("insert_grants", staff_id, *_write_grants(grants))

    async def fetch_staff(self, staff_id: str) -> MemberRecord | None:
        """Returns somebody with their roles."""
        row = await self._on.row("fetch_staff", staff_id)
        return None if row is None else _read_member(row)

    async def set_disabled(self, staff_id: str, *, is_disabled: bool) -> None:
        """Disables somebody, or lets them in again."""
        await self._on.value("set_disabled", staff_id, is_disabled)

    async def set_password(self, staff_id: str, password_hash: str) -> None:
        """Sets somebody's password."""
        await self._on.value("set_password", staff_id, password_hash)

    async def count_admins(self) -> int:
        """Returns how many can administer the whole platform."""
        return int(await self._on.value("count_admins"))

    async def count_staff(self) -> int:
        """Returns how many accounts there are."""
        return int(await self._on.value("count_staff"))

    async def insert_session(
        self, token_hash: bytes, staff_id: str, *, seconds: float
    ) -> dt.datetime:
        """Begins a session and returns its end."""
        row = await self._on.one("insert_session", token_hash, staff_id, seconds)
        end: dt.datetime = row["expire_time"]
        return end

    async def delete_session(self, token_hash: bytes) -> str | None:
        """Ends a session, and returns whose it was."""
        staff_id: str | None = await self._on.value("delete_session", token_hash)
        return staff_id

    async def delete_sessions(self, staff_id: str) -> None:
        """Ends all sessions of somebody."""
        await self._on.value("delete_sessions", staff_id)

    async def delete_old_sessions(self, staff_id: str, *, idle_seconds: float) -> None:
        """Ends the sessions of somebody that have ended already."""
        await self._on.value("delete_old_sessions", staff_id, idle_seconds)

    async def insert_invitation(
        self,
        *,
        invitation_id: str,
        token_hash: bytes,
        email: str,
        staff_id: str | None,
        grants: tuple[Grant, ...],
        inviter: str,
        seconds: float,
    ) -> InvitationRecord:
        """Stores an invitation in place of what is open; runs `revoke_invitations` first."""
        await self._on.value("revoke_invitations", email)
        orgs, roles = _write_grants(grants)
        row = await self._on.one(
            "insert_invitation",
            invitation_id,
            token_hash,
            email,
            staff_id,
            orgs,
            roles,
            inviter,
            seconds,
        )
        return _read_invitation(row)

    async def accept_invitation(self, token_hash: bytes) -> InvitationRecord | None:
        """Uses an invitation up. None: there is none, or it is worthless."""
        row = await self._on.row("accept_invitation", token_hash)
        return None if row is None else _read_invitation(row)

    async def fetch_invitation(self, invitation_id: str) -> InvitationRecord | None:
        """Returns an invitation, for the transaction alone."""
        row = await self._on.row("fetch_invitation", invitation_id)
        return None if row is None else _read_invitation(row)

    async def revoke_invitation(self, invitation_id: str) -> InvitationRecord:
        """Revokes an invitation that is locked."""
        return _read_invitation(await self._on.one("revoke_invitation", invitation_id))

    async def use_bootstrap_token(self, token_hash: bytes) -> bool:
        """Uses the installation's token up, and says whether it was good."""
        return await self._on.value("use_bootstrap_token", token_hash) is not None


async def begin_login(on: Transaction, email_hash: bytes) -> int | None:
    """Counts an attempt; returns how many there were in a row. None: the address is locked."""
    count: int | None = await on.value("begin_login", email_hash)
    return count


async def lock_login(on: Transaction, email_hash: bytes, *, seconds: float) -> None:
    """Locks an address for some seconds."""
    await on.value("lock_login", email_hash, seconds)


async def insert_bootstrap_token(on: Transaction, token_hash: bytes) -> None:
    """Stores the installation's token."""
    await on.value("insert_bootstrap_token", token_hash)


def _read_grants(row: asyncpg.Record) -> tuple[Grant, ...]:
    pairs = zip(row["orgs"], row["roles"], strict=True)
    return tuple(Grant(org, Role(role)) for org, role in pairs)


def _write_grants(grants: tuple[Grant, ...]) -> tuple[list[str], list[str]]:
    return [grant.org for grant in grants], [grant.role.value for grant in grants]


def _read_member(row: asyncpg.Record) -> MemberRecord:
    return MemberRecord(
        staff_id=row["staff_id"],
        email=row["email"],
        name=row["name"],
        grants=_read_grants(row),
        create_time=row["create_time"],
        disable_time=row["disable_time"],
        position=row["position"],
    )


def _read_invitation(row: asyncpg.Record) -> InvitationRecord:
    return InvitationRecord(
        invitation_id=row["invitation_id"],
        email=row["email"],
        staff_id=row["staff_id"],
        grants=_read_grants(row),
        inviter=row["inviter"],
        create_time=row["create_time"],
        expire_time=row["expire_time"],
        accept_time=row["accept_time"],
        revoke_time=row["revoke_time"],
        position=row["position"],
    )
