"""Every wrong field of what staff say of themselves and each other is named."""

from __future__ import annotations

from typing import Any

import pytest

from chassis.checks import Checks
from chassis.errors import InvalidArgument
from gateway.principals import PLATFORM, Grant, Role
from gateway.staff import wire
from headgate.api.gateway.v1 import admin_pb2
from headgate.api.gateway.v1 import staff_pb2 as pb

VIEWER, BACKEND = admin_pb2.ROLE_VIEWER, admin_pb2.ROLE_BACKEND


def violations(checks: Checks) -> list[str]:
    assert all(each.description for each in checks.violations)
    return [each.field for each in checks.violations]


@pytest.mark.parametrize(
    ("email", "is_right"),
    [
        ("ada@example.com", True),
        (" Ada.L+x@Example.COM ", True),
        ("ada@localhost", True),
        ("", False),
        ("ada", False),
        ("@example.com", False),
        ("ada@", False),
        ("ada@exa mple.com", False),
        ("ada@example.com\x00", False),
        ("a" * 250 + "@x.io", False),
        ("ada@example.com>, eve@example.com", False),
    ],
)
def test_an_address_is_one(email: str, is_right: bool) -> None:
    checks = Checks()
    read = wire.read_email(checks, email)

    assert violations(checks) == ([] if is_right else ["email"])
    assert read == email.strip().lower()


@pytest.mark.parametrize(
    ("password", "is_right"),
    [
        ("correct horse battery", True),
        ("пароль из слов", True),
        ("short", False),
        ("x" * 129, False),
        ("aaaaaaaaaaaaaaa", False),
        ("abcabcabcabcabc", False),
        ("tab\tin a password", False),
        ("\ud800 is no character", False),
    ],
    ids=ascii,
)
def test_a_password_is_long_enough(password: str, is_right: bool) -> None:
    checks = Checks()
    wire.read_password(checks, "password", password)

    assert violations(checks) == ([] if is_right else ["password"])
    assert not any(password in each.description for each in checks.violations)


@pytest.mark.parametrize(
    ("grants", "expected"),
    [
        ([], ["grants"]),
        ([pb.Grant(role=VIEWER, org=f"o{n}") for n in range(65)], ["grants"]),
        ([pb.Grant()], ["grants[0].role"]),
        ([pb.Grant(role=VIEWER, org="*")], ["grants[0].org"]),
        ([pb.Grant(role=BACKEND)], ["grants[0].org"]),
        ([pb.Grant(role=VIEWER, org="a"), pb.Grant(role=BACKEND, org="a")], ["grants"]),
    ],
    ids=lambda value: str(value)[:40],
)
def test_every_wrong_grant_is_named(grants: list[pb.Grant], expected: list[str]) -> None:
    checks = Checks()
    wire.read_grants(checks, grants)

    assert violations(checks) == expected


def test_grants_come_in_order_of_their_orgs() -> None:
    checks = Checks()
    sent = [pb.Grant(role=BACKEND, org="acme"), pb.Grant(role=VIEWER)]

    assert wire.read_grants(checks, sent) == (
        Grant(PLATFORM, Role.VIEWER),
        Grant("acme", Role.BACKEND),
    )
    assert violations(checks) == []


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"email": "", "password": ""}, ["email", "password"]),
        ({"email": "e" * 255, "password": "p" * 129}, ["email", "password"]),
        ({"email": "a\x00", "password": "p"}, ["email"]),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_login_is_checked_for_its_size_only(values: dict[str, Any], expected: list[str]) -> None:
    with pytest.raises(InvalidArgument) as refused:
        wire.parse_credentials(pb.LoginRequest(**values))
    assert [each.field for each in refused.value.violations] == expected
    request = pb.LoginRequest(email=" ADA@example.com", password=" not trimmed ")
    assert wire.parse_credentials(request) == ("ada@example.com", " not trimmed ")


def test_a_list_is_about_an_org_or_all() -> None:
    assert wire.read_org(pb.ListStaffRequest()) == ""
    with pytest.raises(InvalidArgument):
        wire.read_org(pb.ListInvitationsRequest(org="*"))
