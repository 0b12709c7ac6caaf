"""Who may do what, over the wire: every method of every service, for every role and for nobody."""

from __future__ import annotations

import pkgutil
from importlib import import_module
from typing import Any, Final

import pytest

from headgate.api.gateway.v1 import admin_pb2
from headgate.channel import authorization
from tests.integration.gateway.system import (
    ACME_KEY,
    ADMIN_KEY,
    System,
    refusal,
)

INNER: Final = ("admission", "accounting", "health")
UNKNOWN_KEY = "hg_nobody_" + "N" * 43
UNAUTHENTICATED = ("UNAUTHENTICATED", "UNAUTHENTICATED")
PERMISSION_DENIED = ("PERMISSION_DENIED", "PERMISSION_DENIED")
# By the first word of a method's name: a new one is open to no more than its name says.
READS: Final = (
    "Get", "List", "Watch", "Export", "Explain", "Estimate", "Simulate", "Forecast", "Preview",
)  # fmt: skip
# What only admins may touch.
IDENTITY: Final = ("ApiKey", "Staff", "Invitation")
# Reads of what is no org's secret: whoever may read anything may read these.
FOR_ALL: Final = {"ListRoutes", "GetRoute", "ListPrices", "ListOrgs"}
# What staff of one org may do, as long as they name it.
OF_ORG: Final = {
    "GetUsage",
    "ExportUsage",
    "ListCounters",
    "ListStatements",
    "GetStatement",
    "ExplainLimits",
    "SimulateLimits",
    "ListViolations",
    "RequestBudgetIncrease",
    "ListBudgetIncreases",
    "GetForecast",
    "GetOrg",
    "UpdateOrg",
    "ForecastCalls",
    "CreateApiKey",
    "ListApiKeys",
    "ListInvitations",
    "ListStaff",
}
SERVICES_OF_ORG: Final = {
    "AlertAdminService",
    "ApprovalAdminService",
    "ChannelAdminService",
    "EventAdminService",
}
# Where the method itself looks whose key, or who, it is about.
OF_ITS_OWN: Final = {
    "RotateApiKey",
    "RevokeApiKey",
    "InviteStaff",
    "ResetStaffPassword",
    "RevokeInvitation",
    "PutStaffGrants",
    "DisableStaff",
    "EnableStaff",
}
# What whoever comes may call, and what everybody known may.
PUBLIC: Final = {
    "Bootstrap", "Login", "AcceptInvitation", "BeginOidcLogin", "FinishOidcLogin",
}  # fmt: skip
OPEN: Final = {"GetStatus", "Logout", "GetSession", "ChangePassword"}


def methods(name: str) -> list[Any]:
    """Every method of every service that a deployable has in the contracts."""
    package = import_module(f"headgate.api.{name}.v1")
    modules = [each.name for each in pkgutil.iter_modules(package.__path__)]
    found = [
        method
        for module in modules
        if module.endswith("_pb2")
        for service in import_module(
            f"{package.__name__}.{module}"
        ).DESCRIPTOR.services_by_name.values()
        for method in service.methods
    ]
    assert found
    return found


async def ask(channel: Any, method: Any, metadata: Any, **values: Any) -> tuple[str, str]:
    """Calls any method with a message that no method finds right, and returns how it ended."""
    texts = {name for name, field in fields(method).items() if field.message_type is None}
    known = {name: value for name, value in values.items() if name in texts}
    request = method.input_type._concrete_class(**known)
    path = f"/{method.containing_service.full_name}/{method.name}"
    if method.server_streaming:
        stream = channel.unary_stream(path)(
            request.SerializeToString(), metadata=metadata, timeout=5
        )
        rpc = stream.read()
    else:
        rpc = channel.unary_unary(path)(request.SerializeToString(), metadata=metadata, timeout=5)
    try:
        answer = await refusal(rpc)
    except pytest.fail.Exception:
        return "OK", ""
    return answer.code, answer.reason


def fields(method: Any) -> dict[str, Any]:
    return dict(method.input_type.fields_by_name)


def is_for(role: str, name: str) -> bool:
    """Says whether a method is for a role in the whole platform."""
    if role == "admin":
        return True
    if any(word in name for word in IDENTITY):
        return False
    return role == "editor" or name.startswith(READS)


async def make_key(system: System, role: int, *orgs: str) -> Any:
    request = admin_pb2.CreateApiKeyRequest(name="of a test", role=role, orgs=orgs)  # type: ignore[arg-type]  # an enum's number
    return authorization((await system.staff().CreateApiKey(request)).secret)


async def test_without_a_key_that_we_know_nothing_is_served(system: System) -> None:
    channel = system.channel()
    headers = [
        (),
        (("authorization", f"Bearer {UNKNOWN_KEY}"),),
        (("authorization", f"Bearer {ACME_KEY[:-1]}X"),),
        (("authorization", f"Basic {ACME_KEY}"),),
    ]

    for method in methods("gateway"):
        if method.name in PUBLIC:
            assert (await ask(channel, method, ()))[1] == "INVALID_ARGUMENT", method.name
            continue
        for header in headers:
            assert await ask(channel, method, header) == UNAUTHENTICATED, (method.name, header)


async def test_the_inner_services_know_no_keys_and_nobody(system: System) -> None:
    for name in INNER:
        channel = system.channel(name)
        for method in methods(name):
            for header in ((), authorization(ACME_KEY), authorization(ADMIN_KEY)):
                assert await ask(channel, method, header) == UNAUTHENTICATED, method.full_name


async def test_each_role_may_call_its_methods_and_no_other(system: System) -> None:
    channel = system.channel()
    roles = {
        "backend": authorization(ACME_KEY),
        "viewer": await make_key(system, admin_pb2.ROLE_VIEWER),
        "editor": await make_key(system, admin_pb2.ROLE_EDITOR),
        "admin": authorization(ADMIN_KEY),
    }
    for role, header in roles.items():
        for method in methods("gateway"):
            is_call = method.containing_service.name == "GatewayService"
            allowed = is_call if role == "backend" else not is_call and is_for(role, method.name)
            found = await ask(channel, method, header)
            if method.name not in PUBLIC | OPEN:
                assert (found != PERMISSION_DENIED) is allowed, (role, method.name, found)
            assert found != UNAUTHENTICATED, (role, method.name)


async def test_a_role_for_an_org_ends_at_that_org(system: System) -> None:
    channel = system.channel()
    roles = {
        role: await make_key(system, getattr(admin_pb2, f"ROLE_{role.upper()}"), "acme")
        for role in ("viewer", "editor", "admin")
    }
    for role, header in roles.items():
        for method in methods("gateway"):
            name, service = method.name, method.containing_service.name
            if name in PUBLIC | OPEN or service == "GatewayService":
                continue
            of_org = name in OF_ORG or service in SERVICES_OF_ORG
            may_begin = is_for(role, name) and (of_org or name in FOR_ALL | OF_ITS_OWN)
            own = await ask(channel, method, header, org="acme", orgs=["acme"])
            other = await ask(channel, method, header, org="globex", orgs=["acme", "globex"])
            unnamed = await ask(channel, method, header)
            assert (own != PERMISSION_DENIED) is may_begin, (role, name, own)
            reaches_further = may_begin and not of_org
            for found in (other, unnamed):
                assert (found != PERMISSION_DENIED) is reaches_further, (role, name, found)
