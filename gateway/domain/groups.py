"""Which roles the groups of an OpenID provider give."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Final

from gateway.principals import PLATFORM, Grant, Role

# Roles of staff, the least first. Calls are made with API keys only.
RANKS: Final = (Role.VIEWER, Role.EDITOR, Role.ADMIN)
_ORG: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

# The grants of each group.
GroupRoles = Mapping[str, tuple[Grant, ...]]


def parse_group_roles(text: str) -> GroupRoles:
    """Reads `group=role[@org]` entries, separated by commas. Raises ValueError."""
    roles: dict[str, tuple[Grant, ...]] = {}
    known = {role.value: role for role in RANKS}
    for position, entry in enumerate(filter(None, map(str.strip, text.split(","))), start=1):
        group, _, given = entry.rpartition("=")
        name, at, org = given.partition("@")
        if not group or name not in known or (at and _ORG.fullmatch(org) is None):
            raise ValueError(
                f"entry {position} must be `group=role` or `group=role@org`, the role one of "
                + ", ".join(known)
            )
        roles[group] = (*roles.get(group, ()), Grant(org or PLATFORM, known[name]))
    return roles


def grants_of(groups: Collection[str], roles: GroupRoles) -> tuple[Grant, ...]:
    """Returns the highest role of each org, in their order. Empty: none of the groups has one."""
    highest: dict[str, Role] = {}
    for group in groups:
        for grant in roles.get(group, ()):
            known = highest.get(grant.org, grant.role)
            highest[grant.org] = max(known, grant.role, key=RANKS.index)
    return tuple(Grant(org, role) for org, role in sorted(highest.items()))
