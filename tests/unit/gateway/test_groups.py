"""Which roles a provider's groups give."""

from __future__ import annotations

import pytest

from gateway.domain.groups import grants_of, parse_group_roles
from gateway.principals import PLATFORM, Grant, Role

ROLES = parse_group_roles("platform=admin, leads=editor@acme,all=viewer@acme,all=viewer@globex,")


@pytest.mark.parametrize(
    ("groups", "grants"),
    [
        ((), ()),
        (("others", "Platform"), ()),
        (("platform",), (Grant(PLATFORM, Role.ADMIN),)),
        (("all", "leads"), (Grant("acme", Role.EDITOR), Grant("globex", Role.VIEWER))),
        (("leads", "all"), (Grant("acme", Role.EDITOR), Grant("globex", Role.VIEWER))),
    ],
)
def test_a_person_has_the_highest_role_of_each_org(
    groups: tuple[str, ...], grants: tuple[Grant, ...]
) -> None:
    assert grants_of(groups, ROLES) == grants


@pytest.mark.parametrize(
    "text", ["a", "a=", "=admin", "a=backend", "a=owner", "a=admin@", "a=viewer@a b"]
)
def test_what_is_no_table_of_roles_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="entry 1"):
        parse_group_roles(text)
