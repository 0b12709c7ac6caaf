"""Sessions: how staff come in and leave.

A session's token is made here at each login, never taken from a caller, so nobody can plant one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

import grpc
from google.protobuf.message import Message

from chassis.checks import Checks
from chassis.errors import Overloaded, PermissionDenied, ServiceError
from gateway import tokens
from gateway.admin.audit import Audit, describe
from gateway.admin.wire_keys import render_time
from gateway.auth import SESSION_PREFIX
from gateway.domain.lockout import lock_seconds
from gateway.principals import Principal
from gateway.staff import store as staff_store
from gateway.staff import wire
from gateway.staff.passwords import Passwords
from gateway.staff.store import StaffStore, StaffTransaction, StoredPassword
from gateway.store import Store, Transaction
from headgate.api.gateway.v1 import staff_pb2 as pb

_LOCK_RETRY_SECONDS_MIN: Final = 1.0

Result = TypeVar("Result")


class LoginFailed(ServiceError):  # noqa: N818 - named like the reason it becomes
    """The address or the password is wrong; nobody says which."""

    def __init__(self) -> None:
        super().__init__(
            "the e-mail address or the password is wrong",
            code=grpc.StatusCode.UNAUTHENTICATED,
            reason="LOGIN_FAILED",
        )


class LoginLocked(ServiceError):  # noqa: N818 - named like the reason it becomes
    """Too many failures in a row for this address."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            "too many failures for this e-mail address; come back later",
            code=grpc.StatusCode.UNAUTHENTICATED,
            reason="LOGIN_LOCKED",
            retry_delay_seconds=max(seconds, _LOCK_RETRY_SECONDS_MIN),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetimes:
    """How long sessions go on."""

    # Unused.
    idle_seconds: float
    # However much they are used.
    session_seconds: float


class Sessions:
    """Begins and ends sessions."""

    def __init__(
        self,
        *,
        store: Store,
        staff: StaffStore,
        audit: Audit,
        passwords: Passwords,
        lifetimes: Lifetimes,
    ) -> None:
        self._store = store
        self._staff = staff
        self._audit = audit
        self._passwords = passwords
        self._lifetimes = lifetimes

    async def login(self, request: pb.LoginRequest, shown: str) -> pb.LoginResponse:
        """Lets somebody in; `shown` is the token that the caller has, which ends."""
        email, password = wire.parse_credentials(request)
        staff_id = await self._check(email, password)
        who = Principal(actor=staff_id, grants=())

        async def work(on: Transaction) -> pb.Session:
            changes = StaffTransaction(on)
            if tokens.is_whole(shown, SESSION_PREFIX):
                await changes.begin()
                await changes.delete_session(tokens.digest(shown))
            idle = self._lifetimes.idle_seconds
            await changes.delete_old_sessions(staff_id, idle_seconds=idle)
            return await self.start(changes, staff_id)

        session = await self._change(who, "Login", request, work)
        return pb.LoginResponse(member=await self._render(staff_id), session=session)

    async def logout(self, request: pb.LogoutRequest, who: Principal, shown: str) -> None:
        """Ends the caller's session."""
        _require_session(shown)

        async def work(on: Transaction) -> None:
            changes = StaffTransaction(on)
            await changes.begin()
            await changes.delete_session(tokens.digest(shown))

        await self._change(who, "Logout", request, work)

    async def get(self, who: Principal, shown: str) -> pb.GetSessionResponse:
        """Tells whose session it is."""
        _require_session(shown)
        session = await self._staff.fetch_session(tokens.digest(shown))
        return pb.GetSessionResponse(
            member=await self._render(who.actor),
            expire_time=render_time(None if session is None else session.expire_time),
        )

    async def change_password(
        self, request: pb.ChangePasswordRequest, who: Principal, shown: str
    ) -> pb.ChangePasswordResponse:
        """Sets another password, ends all sessions and begins one."""
        _require_session(shown)
        checks = Checks()
        wire.read_password(checks, "new_password", request.new_password)
        checks.raise_if_any()
        member = await self._staff.fetch_staff(who.actor)
        await self._check("" if member is None else member.email, request.current_password)
        hashed = await self._passwords.hash(request.new_password)

        async def work(on: Transaction) -> pb.Session:
            changes = StaffTransaction(on)
            await changes.begin()
            await changes.set_password(who.actor, hashed)
            await changes.delete_sessions(who.actor)
            return await self.start(changes, who.actor)

        session = await self._change(who, "ChangePassword", request, work)
        return pb.ChangePasswordResponse(session=session)

    async def start(self, changes: StaffTransaction, staff_id: str) -> pb.Session:
        """Begins a session; the answer is the only place where its token ever is."""
        token = tokens.make(SESSION_PREFIX)
        end = await changes.insert_session(
            tokens.digest(token), staff_id, seconds=self._lifetimes.session_seconds
        )
        return pb.Session(token=token, expire_time=render_time(end))

    async def _change(
        self,
        who: Principal,
        action: str,
        request: Message,
        work: Callable[[Transaction], Awaitable[Result]],
    ) -> Result:
        intent = describe(who, action, f"staff/{who.actor}", request)
        return await self._audit.change_own(intent, work)

    async def _check(self, email: str, password: str) -> str:
        """Returns whose password it is. Raises LoginFailed, LoginLocked."""
        email_hash = hashlib.sha256(email.encode()).digest()
        async with self._store.transaction() as on:
            count = await staff_store.begin_login(on, email_hash)
            if count is not None and lock_seconds(count):
                await staff_store.lock_login(on, email_hash, seconds=lock_seconds(count))
        if count is None:
            raise LoginLocked(await self._staff.fetch_login_lock(email_hash))
        stored = await self._staff.fetch_password(email)
        hashed = None if stored is None else stored.password_hash
        is_right = await self._passwords.verify(hashed, password)
        if stored is None or not is_right or stored.is_disabled:
            raise LoginFailed
        await self._staff.forget_login_failures(email_hash)
        if self._passwords.is_outdated(stored.password_hash):
            await self._hash_anew(stored, password)
        return stored.staff_id

    async def _hash_anew(self, stored: StoredPassword, password: str) -> None:
        """Stores a password as new ones are; only at a login is it known."""
        try:
            hashed = await self._passwords.hash(password)
        except Overloaded:
            # The next login does it.
            return
        await self._staff.renew_password_hash(stored, hashed)

    async def _render(self, staff_id: str) -> pb.StaffMember | None:
        member = await self._staff.fetch_staff(staff_id)
        return None if member is None else wire.render_member(member)


def _require_session(shown: str) -> None:
    if not tokens.is_whole(shown, SESSION_PREFIX):
        raise PermissionDenied("only staff who logged in have a session")
