"""Orgs between the contract and the gateway's own values."""

from __future__ import annotations

import zoneinfo
from typing import Final

from chassis.checks import Checks
from gateway import wire
from gateway.admin.wire_keys import render_time
from gateway.domain.orgs import Org
from gateway.org_store import OrgVersion
from headgate.api.gateway.v1 import org_admin_pb2 as pb

NAME_LENGTH_MAX: Final = 128
TEXT_LENGTH_MAX: Final = 256
CENTRE_LENGTH_MAX: Final = 64
ZONE_LENGTH_MAX: Final = 64
CONTACT_COUNT_MAX: Final = 8
BASIS_POINTS_MAX: Final = 10_000
REASON_LENGTH_MAX: Final = 1_024


def parse_profile(name: str, profile: pb.Org, *, field: str) -> Org:
    """Returns what an org shall be. Raises InvalidArgument with every wrong field."""
    checks = Checks()
    _check_name(checks, field, name)
    org = read_profile(checks, "profile.", profile, name=name)
    checks.raise_if_any()
    return org


def read_member(checks: Checks, path: str, profile: pb.Org) -> Org:
    """Returns an org of a set; what is wrong with it is on the checks."""
    _check_name(checks, f"{path}org", profile.org)
    return read_profile(checks, path, profile, name=profile.org)


def read_profile(checks: Checks, path: str, profile: pb.Org, *, name: str) -> Org:
    """Returns what an org shall be; what is wrong with it is on the checks."""
    texts = (
        ("display_name", profile.display_name, NAME_LENGTH_MAX),
        ("owner", profile.owner, TEXT_LENGTH_MAX),
        ("cost_centre", profile.cost_centre, CENTRE_LENGTH_MAX),
    )
    for part, value, length in texts:
        checks.text(f"{path}{part}", value, min_length=0, max_length=length)
    if len(profile.contacts) > CONTACT_COUNT_MAX:
        checks.violate(f"{path}contacts", f"at most {CONTACT_COUNT_MAX} are kept")
    for place, contact in enumerate(profile.contacts[:CONTACT_COUNT_MAX]):
        checks.text(f"{path}contacts[{place}]", contact, max_length=TEXT_LENGTH_MAX)
    if profile.time_zone and not _is_zone(profile.time_zone):
        checks.violate(f"{path}time_zone", "send an IANA name such as Europe/Amsterdam")
    checks.integer(
        f"{path}discount_basis_points",
        profile.discount_basis_points,
        minimum=0,
        maximum=BASIS_POINTS_MAX,
    )
    return Org(
        org=name,
        display_name=profile.display_name,
        time_zone=profile.time_zone,
        owner=profile.owner,
        contacts=tuple(profile.contacts),
        cost_centre=profile.cost_centre,
        discount_basis_points=profile.discount_basis_points,
    )


def check_name(name: str) -> str:
    """Returns an org's name. Raises InvalidArgument."""
    checks = Checks()
    _check_name(checks, "org", name)
    checks.raise_if_any()
    return name


def check_order(request: pb.SuspendOrgRequest | pb.ResumeOrgRequest) -> None:
    """Raises InvalidArgument for an order without a name or a reason."""
    checks = Checks()
    _check_name(checks, "org_id", request.org_id)
    checks.text("reason", request.reason, max_length=REASON_LENGTH_MAX)
    checks.raise_if_any()


def render_org(stored: OrgVersion) -> pb.Org:
    """Renders an org as it is stored."""
    org = stored.org
    return pb.Org(
        org=org.org,
        display_name=org.display_name,
        time_zone=org.time_zone,
        owner=org.owner,
        contacts=org.contacts,
        cost_centre=org.cost_centre,
        discount_basis_points=org.discount_basis_points,
        suspended=org.suspended,
        suspend_reason=org.suspend_reason,
        version=stored.version,
        create_time=render_time(stored.create_time),
        update_time=render_time(stored.update_time),
        updater=stored.updater,
    )


def _check_name(checks: Checks, field: str, name: str) -> None:
    checks.text(field, name, max_length=wire.ORG_LENGTH_MAX, pattern=wire.ORG)


def _is_zone(name: str) -> bool:
    try:
        zoneinfo.ZoneInfo(name[: ZONE_LENGTH_MAX + 1])
    except (ValueError, KeyError, OSError):
        return False
    return len(name) <= ZONE_LENGTH_MAX
