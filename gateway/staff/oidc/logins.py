"""Logins by the OpenID provider: begun with secrets of their own, finished at most once."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from typing import Final

import grpc
import structlog

from chassis.checks import Checks
from chassis.errors import FailedPrecondition, Overloaded, PermissionDenied, ServiceError
from gateway import tokens
from gateway.admin.audit import Audit, describe
from gateway.admin.wire_keys import render_time
from gateway.domain.groups import GroupRoles, grants_of
from gateway.principals import Principal
from gateway.staff import wire
from gateway.staff.oidc.login_store import (
    fetch_identity,
    insert_identity,
    insert_oidc_login,
    take_oidc_login,
)
from gateway.staff.oidc.provider import Provider
from gateway.staff.oidc.tokens import Expected, Person, UntrustedError
from gateway.staff.passwords import Passwords
from gateway.staff.sessions import Sessions
from gateway.staff.store import MemberRecord, StaffTransaction
from gateway.store import Store, Transaction
from headgate.api.gateway.v1 import staff_pb2 as pb

LOGIN_SECONDS: Final = 600.0
# Anybody may begin one.
UNDER_WAY_COUNT_MAX: Final = 10_000
LOGIN_PREFIX: Final = "hgl_"
CODE_LENGTH_MAX: Final = 4_096
URI_LENGTH_MAX: Final = 512
# Where a program on the person's own machine waits.
_LOOPBACK: Final = re.compile(r"http://(?:127\.0\.0\.1|\[::1\]):([0-9]{1,5})/[A-Za-z0-9_/-]{0,64}")
PORT_MAX: Final = 65_535

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Who is let in, and where people may be sent back to."""

    roles: GroupRoles
    redirect_uris: frozenset[str]


class NotLetInError(ServiceError):
    """The provider's answer is not believed; the log says why."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code=grpc.StatusCode.UNAUTHENTICATED, reason="LOGIN_FAILED")


class OidcLogins:
    """Begins and finishes logins."""

    def __init__(
        self,
        *,
        provider: Provider | None,
        terms: Terms,
        store: Store,
        audit: Audit,
        sessions: Sessions,
        passwords: Passwords,
    ) -> None:
        """`provider`: None refuses everybody."""
        self._provider = provider
        self._terms = terms
        self._store = store
        self._audit = audit
        self._sessions = sessions
        self._passwords = passwords

    async def begin(self, request: pb.BeginOidcLoginRequest) -> pb.BeginOidcLoginResponse:
        """Returns where to send the person. Raises ServiceError."""
        checks = Checks()
        uri = checks.text("redirect_uri", request.redirect_uri, max_length=URI_LENGTH_MAX)
        if uri not in self._terms.redirect_uris and not _is_loopback(uri):
            checks.violate("redirect_uri", "is none of this installation's, nor on loopback")
        checks.raise_if_any()
        provider = self._require()
        secret, state = tokens.make(LOGIN_PREFIX), secrets.token_urlsafe(32)
        nonce, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(48)
        page = await provider.authorization_url(
            redirect_uri=uri, state=state, nonce=nonce, challenge=_challenge(verifier)
        )
        end = await insert_oidc_login(
            self._store,
            login_hash=tokens.digest(secret),
            state_hash=tokens.digest(state),
            nonce=nonce,
            verifier=verifier,
            redirect_uri=uri,
            seconds=LOGIN_SECONDS,
            count_max=UNDER_WAY_COUNT_MAX,
        )
        if end is None:
            raise Overloaded
        return pb.BeginOidcLoginResponse(
            authorization_url=page, login_secret=secret, expire_time=render_time(end)
        )

    async def finish(self, request: pb.FinishOidcLoginRequest) -> pb.FinishOidcLoginResponse:
        """Lets in whom the provider names. Raises ServiceError."""
        checks = Checks()
        wire.read_secret(checks, "login_secret", request.login_secret)
        wire.read_secret(checks, "state", request.state)
        checks.text("code", request.code, max_length=CODE_LENGTH_MAX)
        checks.raise_if_any()
        person = await self._identify(request)
        grants = grants_of(person.groups, self._terms.roles)
        known = await fetch_identity(self._store, self._require().client.issuer, person.subject)
        who = Principal(actor=known or f"s_{secrets.token_hex(6)}", grants=())
        # Nobody knows this password; an admin may reset it, as for anybody.
        hashed = "" if known else await self._passwords.hash(secrets.token_urlsafe(32))

        async def work(on: Transaction) -> tuple[MemberRecord | None, pb.Session | None]:
            changes = StaffTransaction(on)
            await changes.begin()
            if known is None:
                await self._make(on, changes, who.actor, person, hashed)
            await changes.put_grants(who.actor, grants)
            if not grants:
                await changes.delete_sessions(who.actor)
                return None, None
            member = await changes.fetch_staff(who.actor)
            if member is None or member.disable_time is not None:
                raise NotLetInError("this account is disabled: ask an admin")
            return member, await self._sessions.start(changes, who.actor)

        if known is None and not grants:
            raise _no_role()
        intent = describe(who, "FinishOidcLogin", f"staff/{who.actor}", request)
        member, session = await self._audit.change_own(intent, work)
        if member is None:
            raise _no_role()
        return pb.FinishOidcLoginResponse(member=wire.render_member(member), session=session)

    async def _identify(self, request: pb.FinishOidcLoginRequest) -> Person:
        provider = self._require()
        begun = await take_oidc_login(self._store, tokens.digest(request.login_secret))
        if begun is None:
            raise NotLetInError("this login is unknown, over or finished: begin again")
        if not hmac.compare_digest(begun.state_hash, tokens.digest(request.state)):
            raise NotLetInError("the state is another login's: begin again")
        client = provider.client
        expected = Expected(
            issuer=client.issuer,
            client_id=client.client_id,
            nonce=begun.nonce,
            now=begun.now,
        )
        try:
            return await provider.redeem(
                request.code,
                redirect_uri=begun.redirect_uri,
                verifier=begun.verifier,
                expected=expected,
            )
        except UntrustedError as error:
            log.warning("oidc_login_refused", why=str(error))
            raise NotLetInError("the provider's answer is not believed: begin again") from None

    async def _make(
        self,
        on: Transaction,
        changes: StaffTransaction,
        staff_id: str,
        person: Person,
        hashed: str,
    ) -> None:
        """Makes the account of somebody new. Raises NotLetInError, FailedPrecondition."""
        if wire.EMAIL.fullmatch(person.email) is None:
            raise NotLetInError("the provider gives no verified e-mail address of this person")
        made = await changes.insert_staff(
            staff_id=staff_id,
            email=person.email,
            name=person.name or person.email,
            password_hash=hashed,
        )
        if not made:
            # Never joined by the address alone: whoever can set one at the provider would be them.
            raise FailedPrecondition(
                f"{person.email} has an account already: log in with its password",
                "STAFF_EXISTS",
                email=person.email,
            )
        issuer = self._require().client.issuer
        await insert_identity(on, issuer, person.subject, staff_id)

    def _require(self) -> Provider:
        if self._provider is None:
            raise FailedPrecondition(
                "this installation has no OpenID provider: log in with a password",
                "OIDC_NOT_CONFIGURED",
            )
        return self._provider


def _challenge(verifier: str) -> str:
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _is_loopback(uri: str) -> bool:
    found = _LOOPBACK.fullmatch(uri)
    return found is not None and 0 < int(found[1]) <= PORT_MAX


def _no_role() -> PermissionDenied:
    return PermissionDenied("none of your groups has a role here: ask who administers Headgate")
