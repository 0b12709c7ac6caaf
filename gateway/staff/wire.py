"""Staff, sessions and invitations between the contract and the gateway's own values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from chassis.checks import Checks
from gateway import wire
from gateway.admin.wire_keys import NAME_LENGTH_MAX, RENDERED_ROLES, ROLES, render_time
from gateway.principals import Grant, Role
from gateway.staff.passwords import PASSWORD_LENGTH_MAX, PASSWORD_LENGTH_MIN
from gateway.staff.store import InvitationRecord, MemberRecord
from headgate.api.gateway.v1 import staff_pb2 as pb

EMAIL_LENGTH_MAX: Final = 254
ID_LENGTH_MAX: Final = 32
SECRET_LENGTH_MAX: Final = 128
GRANT_COUNT_MAX: Final = 64
# What a mail server would take is wider; what people type wrongly is not in it.
EMAIL: Final = re.compile(r"[a-z0-9.!#$%&'*+/=?^_`{|}~-]+@[a-z0-9-]+(?:\.[a-z0-9-]+)*")


def parse_credentials(request: pb.LoginRequest) -> tuple[str, str]:
    """Returns the address in lower case and the password, as they came: a wrong one is a failed
    login like another. Raises InvalidArgument.
    """
    checks = Checks()
    checks.text("email", request.email.strip(), max_length=EMAIL_LENGTH_MAX)
    checks.text("password", request.password.strip(" "), max_length=PASSWORD_LENGTH_MAX)
    checks.raise_if_any()
    return request.email.strip().lower(), request.password


def read_email(checks: Checks, email: str) -> str:
    """Returns the address in lower case."""
    return checks.text("email", email.strip().lower(), max_length=EMAIL_LENGTH_MAX, pattern=EMAIL)


def read_name(checks: Checks, name: str) -> str:
    """Returns a person's name."""
    return checks.text("name", name, max_length=NAME_LENGTH_MAX)


def read_password(checks: Checks, field: str, password: str) -> str:
    """Returns a password that may be set. Any characters do; the length is what counts."""
    if not PASSWORD_LENGTH_MIN <= len(password) <= PASSWORD_LENGTH_MAX:
        checks.violate(
            field, f"must have {PASSWORD_LENGTH_MIN} to {PASSWORD_LENGTH_MAX} characters"
        )
    elif not password.isprintable() or len(set(password)) <= PASSWORD_LENGTH_MIN // 4:
        checks.violate(field, "must hold no control characters and more than three different ones")
    return password


def read_id(checks: Checks, field: str, value: str) -> str:
    """Returns an id of somebody or of an invitation."""
    return checks.text(field, value, max_length=ID_LENGTH_MAX)


def read_secret(checks: Checks, field: str, value: str) -> str:
    """Returns a one-time token."""
    return checks.text(field, value, max_length=SECRET_LENGTH_MAX)


def read_grants(checks: Checks, grants: Sequence[pb.Grant]) -> tuple[Grant, ...]:
    """Returns roles, in order of their orgs."""
    if not 1 <= len(grants) <= GRANT_COUNT_MAX:
        checks.violate("grants", f"has {len(grants)}; give 1 to {GRANT_COUNT_MAX}")
        return ()
    read = []
    for position, grant in enumerate(grants):
        role = checks.choice(f"grants[{position}].role", grant.role, allowed=ROLES)
        org = checks.text(
            f"grants[{position}].org",
            grant.org,
            min_length=0,
            max_length=wire.ORG_LENGTH_MAX,
            pattern=wire.ORG,
        )
        if ROLES.get(grant.role) is Role.BACKEND and not org:
            checks.violate(f"grants[{position}].org", "required: a backend acts for named orgs")
        if role in ROLES:
            read.append(Grant(org, ROLES[grant.role]))
    if len({grant.org for grant in grants}) < len(grants):
        checks.violate("grants", "names an org twice; give one role for each")
    return tuple(sorted(read, key=lambda grant: grant.org))


def read_org(request: pb.ListStaffRequest | pb.ListInvitationsRequest) -> str:
    """Returns the org that a list is about, or an empty text. Raises InvalidArgument."""
    checks = Checks()
    checks.text("org", request.org, min_length=0, max_length=wire.ORG_LENGTH_MAX, pattern=wire.ORG)
    checks.raise_if_any()
    return request.org


def render_member(member: MemberRecord) -> pb.StaffMember:
    """Renders somebody."""
    return pb.StaffMember(
        staff_id=member.staff_id,
        email=member.email,
        name=member.name,
        grants=_render_grants(member.grants),
        create_time=render_time(member.create_time),
        disable_time=render_time(member.disable_time),
    )


def render_invitation(invitation: InvitationRecord) -> pb.Invitation:
    """Renders an invitation without its secret."""
    return pb.Invitation(
        invitation_id=invitation.invitation_id,
        email=invitation.email,
        grants=_render_grants(invitation.grants),
        inviter=invitation.inviter,
        create_time=render_time(invitation.create_time),
        expire_time=render_time(invitation.expire_time),
        accept_time=render_time(invitation.accept_time),
        revoke_time=render_time(invitation.revoke_time),
    )


def _render_grants(grants: Sequence[Grant]) -> list[pb.Grant]:
    return [pb.Grant(role=RENDERED_ROLES[grant.role], org=grant.org) for grant in grants]
