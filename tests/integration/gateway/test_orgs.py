"""The org registry: who may see and change what, and that a suspended org makes no more calls."""

from __future__ import annotations

from typing import Any, Final

from headgate.api.common.v1 import denial_pb2, limit_pb2
from headgate.api.gateway.v1 import admin_pb2, org_admin_pb2_grpc
from headgate.api.gateway.v1 import org_admin_pb2 as pb
from tests.integration.gateway.system import (
    ACME_KEY,
    ADMIN_KEY,
    GLOBEX_KEY,
    Keyed,
    System,
    refusal,
)
from tests.integration.gateway.traffic import admit, deny, make_call

ACME = pb.Org(
    org="acme",
    display_name="Acme Ltd",
    time_zone="Europe/Amsterdam",
    owner="Ada",
    contacts=["ada@acme.example", "#acme"],
    cost_centre="CC-7",
    discount_basis_points=1_250,
)


def orgs(system: System, key: str = ADMIN_KEY) -> Keyed:
    return Keyed(org_admin_pb2_grpc.OrgAdminServiceStub(system.channel()), key)


async def lead(system: System, org: str) -> Keyed:
    request = admin_pb2.CreateApiKeyRequest(
        name=f"lead of {org}", role=admin_pb2.ROLE_EDITOR, orgs=[org]
    )
    return orgs(system, (await system.staff().CreateApiKey(request)).secret)


def names(answer: pb.ListOrgsResponse) -> list[str]:
    return [each.org for each in answer.profiles]


async def test_an_org_is_registered_changed_and_listed(system: System) -> None:
    admin = orgs(system)
    created = (await admin.CreateOrg(pb.CreateOrgRequest(profile=ACME))).profile
    again = (await admin.CreateOrg(pb.CreateOrgRequest(profile=ACME))).profile
    other = pb.Org(org="acme", owner="Bob")
    clash = await refusal(admin.CreateOrg(pb.CreateOrgRequest(profile=other)))
    changed = (
        await admin.UpdateOrg(pb.UpdateOrgRequest(org="acme", profile=other, expected_version=1))
    ).profile
    late = await refusal(
        admin.UpdateOrg(pb.UpdateOrgRequest(org="acme", profile=ACME, expected_version=1))
    )
    got = (await admin.GetOrg(pb.GetOrgRequest(org="acme"))).profile
    await admin.CreateOrg(pb.CreateOrgRequest(profile=pb.Org(org="beta")))
    first = await admin.ListOrgs(pb.ListOrgsRequest(page_size=1))
    rest = await admin.ListOrgs(pb.ListOrgsRequest(page_token=first.next_page_token))
    missing = await refusal(admin.GetOrg(pb.GetOrgRequest(org="nobody")))

    assert created == again
    assert (created.version, created.updater, list(created.contacts)) == (
        1,
        "admin",
        list(ACME.contacts),
    )
    assert (clash.code, clash.reason) == ("ALREADY_EXISTS", "ORG_EXISTS")
    assert (changed.version, changed.owner, changed.cost_centre) == (2, "Bob", "")
    assert (late.code, late.reason, late.metadata["version"]) == (
        "FAILED_PRECONDITION",
        "ORG_CHANGED",
        "2",
    )
    assert got == changed
    assert (names(first), names(rest)) == (["acme"], ["beta"])
    assert (missing.code, missing.reason) == ("NOT_FOUND", "ORG_NOT_FOUND")


WRONG: Final[list[tuple[dict[str, Any], str]]] = [
    ({"org": ""}, "profile.org"),
    ({"org": "a/../b\n"}, "profile.org"),
    ({"time_zone": "Mars/Base"}, "profile.time_zone"),
    ({"time_zone": "../../etc/passwd"}, "profile.time_zone"),
    ({"time_zone": "Europe"}, "profile.time_zone"),
    ({"owner": "a\x07"}, "profile.owner"),
    ({"display_name": "x" * 129}, "profile.display_name"),
    ({"contacts": ["x"] * 9}, "profile.contacts"),
    ({"contacts": [""]}, "profile.contacts[0]"),
    ({"discount_basis_points": 10_001}, "profile.discount_basis_points"),
    ({"discount_basis_points": -1}, "profile.discount_basis_points"),
]


async def test_what_is_wrong_with_an_org_is_named(system: System) -> None:
    for values, field in WRONG:
        wrong = pb.Org(**{"org": "acme", **values})
        refused = await refusal(orgs(system).CreateOrg(pb.CreateOrgRequest(profile=wrong)))
        assert (refused.code, refused.fields) == ("INVALID_ARGUMENT", (field,))

    assert names(await orgs(system).ListOrgs(pb.ListOrgsRequest())) == []


async def test_a_lead_sees_and_changes_the_own_org_alone_and_not_its_discount(
    system: System,
) -> None:
    admin, ada = orgs(system), await lead(system, "acme")
    for profile in (ACME, pb.Org(org="globex")):
        await admin.CreateOrg(pb.CreateOrgRequest(profile=profile))
    wanted = pb.Org(org="ignored", owner="Eve", discount_basis_points=1_250)
    changed = await ada.UpdateOrg(pb.UpdateOrgRequest(org="acme", profile=wanted))
    wanted.discount_basis_points = 9_999
    denied = [
        await refusal(rpc)
        for rpc in (
            ada.UpdateOrg(pb.UpdateOrgRequest(org="acme", profile=wanted)),
            ada.UpdateOrg(pb.UpdateOrgRequest(org="globex", profile=pb.Org())),
            ada.GetOrg(pb.GetOrgRequest(org="globex")),
            ada.CreateOrg(pb.CreateOrgRequest(profile=pb.Org(org="mine"))),
            ada.SuspendOrg(pb.SuspendOrgRequest(org_id="acme", reason="x")),
            ada.ResumeOrg(pb.ResumeOrgRequest(org_id="acme", reason="x")),
        )
    ]

    assert (changed.profile.org, changed.profile.owner) == ("acme", "Eve")
    assert {each.code for each in denied} == {"PERMISSION_DENIED"}
    assert names(await ada.ListOrgs(pb.ListOrgsRequest())) == ["acme"]
    stored = (await admin.GetOrg(pb.GetOrgRequest(org="acme"))).profile
    assert stored == changed.profile


async def test_a_suspended_org_is_denied_on_every_gateway_and_told_whom_to_ask(
    system: System,
) -> None:
    await system.start("second")
    admin = orgs(system)
    await admin.CreateOrg(pb.CreateOrgRequest(profile=ACME))
    backends = [system.backend(ACME_KEY, at=name) for name in ("gateway", "second")]
    held = make_call()
    await admit(backends[0], held)

    for round_number in range(3):
        order = pb.SuspendOrgRequest(org_id="acme", reason=f"unpaid {round_number}")
        suspended = (await admin.SuspendOrg(order)).profile
        # The very next call everywhere, a replay of an admitted one too.
        found = [await deny(each, make_call()) for each in backends]
        found.append(await deny(backends[1], held))
        assert suspended.suspended
        for denial in found:
            assert denial.reason == denial_pb2.DENIAL_REASON_FENCED
            assert denial.message == (
                f"Org acme is suspended: unpaid {round_number}. Ask Ada, ada@acme.example, #acme."
            )
            assert denial.contact == "Ada, ada@acme.example, #acme"
        await admit(system.backend(GLOBEX_KEY), make_call())
        await admin.ResumeOrg(pb.ResumeOrgRequest(org_id="acme", reason="paid"))
        for each in backends:
            await admit(each, make_call())


async def test_a_denial_names_the_limits_owner_and_the_orgs_contact(system: System) -> None:
    await orgs(system).CreateOrg(pb.CreateOrgRequest(profile=ACME))
    limit = limit_pb2.Limit(
        limit_id="acme-none",
        scope={"org": "acme"},
        metric=limit_pb2.METRIC_CALLS,
        calendar=limit_pb2.CalendarWindow(period=limit_pb2.CALENDAR_PERIOD_DAY),
        cap=0,
        owner="finance@acme.example",
    )
    put = await system.staff().PutLimit(admin_pb2.PutLimitRequest(limit=limit))
    denial = await deny(system.backend(), make_call())

    # Its calendar is that of its org.
    assert put.limit.calendar.time_zone == "Europe/Amsterdam"
    assert {each.owner for each in denial.violations} == {"finance@acme.example"}
    assert denial.contact == "Ada, ada@acme.example, #acme"


async def test_every_change_of_an_org_leaves_an_entry(system: System) -> None:
    admin = orgs(system)
    await admin.CreateOrg(pb.CreateOrgRequest(profile=ACME))
    await admin.SuspendOrg(pb.SuspendOrgRequest(org_id="acme", reason="unpaid"))
    await refusal(admin.ResumeOrg(pb.ResumeOrgRequest(org_id="nobody", reason="x")))
    entries = await system.fetch(
        "gateway", "SELECT action, target, reason FROM audit_entry ORDER BY position DESC LIMIT 3"
    )

    assert [tuple(row) for row in entries] == [
        ("ResumeOrg", "org/nobody", "x"),
        ("SuspendOrg", "org/acme", "unpaid"),
        ("CreateOrg", "org/acme", ""),
    ]
