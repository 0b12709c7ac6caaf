"""Who is calling, and in which roles."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Final

# Stands for the whole platform where an org's name would.
PLATFORM: Final = ""
# An operation's scope that leaves nothing out.
EVERY_OPERATION: Final[frozenset[str]] = frozenset()


class Role(enum.Enum):
    """What somebody may do. Editors may what viewers may, admins what editors may; a backend (the
    api-user) makes calls and nothing else, and nobody else makes any.
    """

    BACKEND = "backend"
    VIEWER = "viewer"
    EDITOR = "editor"
    ADMIN = "admin"


# Whoever has a role may what these may.
_INCLUDED: Final = {
    Role.BACKEND: frozenset({Role.BACKEND}),
    Role.VIEWER: frozenset({Role.VIEWER}),
    Role.EDITOR: frozenset({Role.VIEWER, Role.EDITOR}),
    Role.ADMIN: frozenset({Role.VIEWER, Role.EDITOR, Role.ADMIN}),
}


@dataclass(frozen=True, slots=True)
class Grant:
    """One role, for one org or the whole platform."""

    org: str
    role: Role

    def covers(self, role: Role, org: str) -> bool:
        """Says whether the grant lets its holder act as `role` for `org`, or for the platform."""
        return role in _INCLUDED[self.role] and self.org in (PLATFORM, org)


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who is calling."""

    # Public part of the key, or the staff member's id.
    actor: str
    grants: tuple[Grant, ...]
    # Operations that calls may be made for. Empty: all.
    operations: frozenset[str] = EVERY_OPERATION
    # Orgs that calls may be made for.
    orgs: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        orgs = frozenset(grant.org for grant in self.grants if grant.role is Role.BACKEND)
        object.__setattr__(self, "orgs", orgs)

    @property
    def roles(self) -> frozenset[Role]:
        """Every role that the caller may act in, for whatever org."""
        return frozenset().union(*(_INCLUDED[grant.role] for grant in self.grants))

    def may_act(self, role: Role, org: str = PLATFORM) -> bool:
        """Says whether the caller has the role for the org, or for the whole platform."""
        return any(grant.covers(role, org) for grant in self.grants)


# Who shows no credential, where none is asked for.
NOBODY: Final = Principal(actor="nobody", grants=())


def grant_all(role: Role, orgs: frozenset[str] | tuple[str, ...]) -> tuple[Grant, ...]:
    """Returns the role for each org, in their order; for the platform if none is named."""
    return tuple(Grant(org, role) for org in sorted(orgs)) or (Grant(PLATFORM, role),)
