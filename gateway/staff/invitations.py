"""Ways in that are used once: the installation's token, invitations, resets of passwords."""

from __future__ import annotations

import secrets
from typing import Final

from chassis.checks import Checks
from chassis.errors import AlreadyExists, FailedPrecondition, NotFound
from gateway import tokens
from gateway.admin.audit import Audit, describe
from gateway.admin.lists import newest_first, take_page
from gateway.principals import PLATFORM, Grant, Principal, Role
from gateway.staff import members, wire
from gateway.staff.passwords import Passwords
from gateway.staff.sessions import Sessions
from gateway.staff.store import InvitationRecord, MemberRecord, StaffStore, StaffTransaction
from gateway.store import Transaction
from headgate.api.gateway.v1 import staff_pb2 as pb

INVITATION_PREFIX: Final = "hgi_"
BOOTSTRAP_PREFIX: Final = "hgb_"
INVITATION_SECONDS: Final = 7 * 86_400.0
_ID_BYTES: Final = 6


class Invitations:
    """Makes and takes one-time secrets."""

    def __init__(
        self, *, staff: StaffStore, audit: Audit, passwords: Passwords, sessions: Sessions
    ) -> None:
        self._staff = staff
        self._audit = audit
        self._passwords = passwords
        self._sessions = sessions

    async def bootstrap(self, request: pb.BootstrapRequest) -> pb.BootstrapResponse:
        """Makes the first admin. Raises FailedPrecondition."""
        checks = Checks()
        wire.read_secret(checks, "token", request.token)
        email = wire.read_email(checks, request.email)
        wire.read_name(checks, request.name)
        wire.read_password(checks, "password", request.password)
        checks.raise_if_any()
        token_hash = tokens.digest(request.token)
        # Whoever comes with a wrong token costs neither a password's hash nor an audit entry.
        if not await self._staff.is_bootstrap_open(token_hash):
            raise _not_valid()
        staff_id, hashed = _new_id("s"), await self._passwords.hash(request.password)

        async def work(on: Transaction) -> tuple[MemberRecord, pb.Session]:
            changes = StaffTransaction(on)
            await changes.begin()
            used = await changes.use_bootstrap_token(token_hash)
            if not used or await changes.count_staff():
                raise _not_valid()
            await changes.insert_staff(
                staff_id=staff_id, email=email, name=request.name, password_hash=hashed
            )
            await changes.put_grants(staff_id, (Grant(PLATFORM, Role.ADMIN),))
            session = await self._sessions.start(changes, staff_id)
            return await members.require(changes, staff_id), session

        who = Principal(actor=staff_id, grants=())
        intent = describe(who, "Bootstrap", f"staff/{staff_id}", request)
        member, session = await self._audit.change_own(intent, work)
        return pb.BootstrapResponse(member=wire.render_member(member), session=session)

    async def invite(
        self, request: pb.InviteStaffRequest, who: Principal
    ) -> pb.InviteStaffResponse:
        """Invites somebody. Raises AlreadyExists, PermissionDenied."""
        checks = Checks()
        email = wire.read_email(checks, request.email)
        grants = wire.read_grants(checks, request.grants)
        checks.raise_if_any()
        members.require_reach(who, grants)
        if await self._staff.fetch_password(email) is not None:
            raise AlreadyExists(f"{email} is staff already", reason="STAFF_EXISTS", email=email)
        secret, invitation_id = tokens.make(INVITATION_PREFIX), _new_id("i")

        async def work(on: Transaction) -> InvitationRecord:
            return await StaffTransaction(on).insert_invitation(
                invitation_id=invitation_id,
                token_hash=tokens.digest(secret),
                email=email,
                staff_id=None,
                grants=grants,
                inviter=who.actor,
                seconds=INVITATION_SECONDS,
            )

        intent = describe(who, "InviteStaff", f"invitation/{invitation_id}", request)
        invitation = await self._audit.change_own(intent, work)
        return pb.InviteStaffResponse(invitation=wire.render_invitation(invitation), secret=secret)

    async def reset_password(
        self, request: pb.ResetStaffPasswordRequest, who: Principal
    ) -> pb.ResetStaffPasswordResponse:
        """Makes a secret that sets a password, and ends the sessions of whom it is for."""
        staff_id = members.parse_id(request)
        secret, invitation_id = tokens.make(INVITATION_PREFIX), _new_id("i")

        async def work(on: Transaction) -> InvitationRecord:
            changes = StaffTransaction(on)
            await changes.begin()
            member = await members.find(changes, staff_id, who)
            await changes.delete_sessions(staff_id)
            return await changes.insert_invitation(
                invitation_id=invitation_id,
                token_hash=tokens.digest(secret),
                email=member.email,
                staff_id=staff_id,
                grants=(),
                inviter=who.actor,
                seconds=INVITATION_SECONDS,
            )

        intent = describe(who, "ResetStaffPassword", f"staff/{staff_id}", request)
        invitation = await self._audit.change_own(intent, work)
        return pb.ResetStaffPasswordResponse(
            invitation=wire.render_invitation(invitation), secret=secret
        )

    async def accept(self, request: pb.AcceptInvitationRequest) -> pb.AcceptInvitationResponse:
        """Lets somebody in by an invitation's secret. Raises FailedPrecondition."""
        checks = Checks()
        wire.read_secret(checks, "secret", request.secret)
        wire.read_password(checks, "password", request.password)
        checks.raise_if_any()
        token_hash = tokens.digest(request.secret)
        found = await self._staff.find_invitation(token_hash)
        if found is None:
            raise _not_valid()
        invitation_id, known_id = found
        if known_id is None:
            wire.read_name(checks, request.name)
            checks.raise_if_any()
        staff_id = known_id or _new_id("s")
        hashed = await self._passwords.hash(request.password)

        async def work(on: Transaction) -> tuple[MemberRecord, pb.Session]:
            changes = StaffTransaction(on)
            await changes.begin()
            invitation = await changes.accept_invitation(token_hash)
            if invitation is None:
                raise _not_valid()
            if known_id is None:
                await _make(changes, staff_id, invitation, request.name, hashed)
            else:
                await changes.set_password(staff_id, hashed)
                await changes.delete_sessions(staff_id)
            session = await self._sessions.start(changes, staff_id)
            return await members.require(changes, staff_id), session

        who = Principal(actor=staff_id, grants=())
        intent = describe(who, "AcceptInvitation", f"invitation/{invitation_id}", request)
        member, session = await self._audit.change_own(intent, work)
        return pb.AcceptInvitationResponse(member=wire.render_member(member), session=session)

    async def revoke(
        self, request: pb.RevokeInvitationRequest, who: Principal
    ) -> pb.RevokeInvitationResponse:
        """Makes an invitation's secret worthless. Raises NotFound."""
        checks = Checks()
        invitation_id = wire.read_id(checks, "invitation_id", request.invitation_id)
        checks.raise_if_any()

        async def work(on: Transaction) -> InvitationRecord:
            changes = StaffTransaction(on)
            invitation = await changes.fetch_invitation(invitation_id)
            if invitation is None or not members.is_reached(invitation.grants, who):
                raise NotFound("invitation", invitation_id)
            return await changes.revoke_invitation(invitation_id)

        intent = describe(who, "RevokeInvitation", f"invitation/{invitation_id}", request)
        invitation = await self._audit.change_own(intent, work)
        return pb.RevokeInvitationResponse(invitation=wire.render_invitation(invitation))

    async def list(self, request: pb.ListInvitationsRequest) -> pb.ListInvitationsResponse:
        """Lists invitations, newest first."""
        org = wire.read_org(request)
        place = newest_first(request, f"invitations@{org}")
        rows = await self._staff.list_invitations(
            below=place.start, count_max=place.size + 1, org=org
        )
        page, token = take_page(rows, place, lambda row: row.position)
        return pb.ListInvitationsResponse(
            invitations=map(wire.render_invitation, page), next_page_token=token
        )


async def _make(
    changes: StaffTransaction,
    staff_id: str,
    invitation: InvitationRecord,
    name: str,
    password_hash: str,
) -> None:
    made = await changes.insert_staff(
        staff_id=staff_id, email=invitation.email, name=name, password_hash=password_hash
    )
    if not made:
        raise _not_valid()
    await changes.put_grants(staff_id, invitation.grants)


def _new_id(kind: str) -> str:
    return f"{kind}_{secrets.token_hex(_ID_BYTES)}"


def _not_valid() -> FailedPrecondition:
    return FailedPrecondition(
        "the token is unknown, used, expired or revoked; ask an admin for a new one",
        "TOKEN_NOT_VALID",
    )
