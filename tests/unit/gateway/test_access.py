"""Who may call what, and for which orgs."""

from __future__ import annotations

import pkgutil
from importlib import import_module
from typing import Any

import pytest

from chassis.errors import PermissionDenied
from gateway import access
from gateway.access import RULES, Reach, Rule
from gateway.principals import PLATFORM, Grant, Principal, Role, grant_all
from headgate.api.gateway import v1
from headgate.api.gateway.v1 import admin_pb2

FILES = [
    import_module(f"{v1.__name__}.{each.name}")
    for each in pkgutil.iter_modules(v1.__path__)
    if each.name.endswith("_pb2")
]
ADMIN = "/headgate.api.gateway.v1.AdminService/"


def who(*grants: tuple[Role, str]) -> Principal:
    return Principal(actor="k", grants=tuple(Grant(org, role) for role, org in grants))


def test_every_method_of_the_contract_stands_in_the_table_and_nothing_else() -> None:
    declared = {
        f"/{service.full_name}/{method.name}"
        for file in FILES
        for service in file.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }

    assert set(RULES) | access.OPEN_METHODS | access.PUBLIC_METHODS == declared


def test_roles_include_lesser_ones_and_nobody_but_backends_makes_calls() -> None:
    assert who((Role.ADMIN, PLATFORM)).roles == {Role.ADMIN, Role.EDITOR, Role.VIEWER}
    assert who((Role.EDITOR, PLATFORM)).roles == {Role.EDITOR, Role.VIEWER}
    assert who((Role.VIEWER, PLATFORM)).roles == {Role.VIEWER}
    assert who((Role.BACKEND, "acme")).roles == {Role.BACKEND}
    assert who().roles == frozenset()
    assert who((Role.ADMIN, PLATFORM)).orgs == frozenset()


@pytest.mark.parametrize("role", [Role.VIEWER, Role.EDITOR, Role.ADMIN])
def test_a_role_for_an_org_reaches_no_further(role: Role) -> None:
    one = who((role, "acme"))

    assert one.may_act(role, "acme")
    assert not one.may_act(role, "globex")
    assert not one.may_act(role)
    assert who((role, PLATFORM)).may_act(role, "globex")


def test_who_has_a_role_for_an_org_begins_no_method_that_asks_for_the_platform() -> None:
    everywhere = access.methods_of(who((Role.ADMIN, PLATFORM)))
    in_acme = access.methods_of(who((Role.ADMIN, "acme")))
    both = access.methods_of(who((Role.ADMIN, "acme"), (Role.VIEWER, PLATFORM)))

    assert everywhere - in_acme == {
        method
        for method, rule in RULES.items()
        if rule.reach is Reach.PLATFORM and rule.role is not Role.BACKEND
    }
    assert both == in_acme | access.methods_of(who((Role.VIEWER, PLATFORM)))
    assert access.methods_of(who()) == access.OPEN_METHODS


@pytest.mark.parametrize(
    ("method", "request_", "is_allowed"),
    [
        ("GetUsage", admin_pb2.GetUsageRequest(org="acme"), True),
        ("GetUsage", admin_pb2.GetUsageRequest(org="globex"), False),
        ("GetUsage", admin_pb2.GetUsageRequest(), False),
        ("ListCounters", admin_pb2.ListCountersRequest(org=""), False),
        ("CreateApiKey", admin_pb2.CreateApiKeyRequest(orgs=["acme"]), True),
        ("CreateApiKey", admin_pb2.CreateApiKeyRequest(orgs=["acme", "globex"]), False),
        ("CreateApiKey", admin_pb2.CreateApiKeyRequest(orgs=["acme", ""]), False),
        ("CreateApiKey", admin_pb2.CreateApiKeyRequest(), False),
        ("ListRoutes", admin_pb2.ListRoutesRequest(), True),
    ],
    ids=str,
)
def test_a_request_may_name_only_orgs_in_reach(
    method: str, request_: Any, is_allowed: bool
) -> None:
    access.check_reach(who((Role.ADMIN, PLATFORM)), ADMIN + method, request_)
    if is_allowed:
        access.check_reach(who((Role.ADMIN, "acme")), ADMIN + method, request_)
        return
    with pytest.raises(PermissionDenied) as refused:
        access.check_reach(who((Role.ADMIN, "acme")), ADMIN + method, request_)
    assert refused.value.metadata["role"]


def test_what_a_refusal_says_of_roles() -> None:
    refused = access.refuse(who((Role.VIEWER, "acme"), (Role.BACKEND, "acme")), "/x/Y")

    assert refused.metadata == {"role": "backend,viewer"}


def test_no_role_means_the_whole_platform_by_accident() -> None:
    assert grant_all(Role.BACKEND, ("b", "a")) == (
        Grant("a", Role.BACKEND),
        Grant("b", Role.BACKEND),
    )
    assert grant_all(Role.ADMIN, ()) == (Grant(PLATFORM, Role.ADMIN),)
    assert Rule(Role.ADMIN, Reach.NAMED) == RULES[ADMIN + "CreateApiKey"]
