"""Staff: the first admin, invitations, roles, and how far each reaches."""

from __future__ import annotations

import asyncio

from headgate.api.gateway.v1 import admin_pb2, gateway_pb2
from tests.integration.gateway.people import (
    ADA,
    ADMIN,
    EDITOR,
    EVE,
    PASSWORD,
    STAFF_TOKEN,
    VIEWER,
    Nobody,
    first_admin,
    grant,
    invited,
    pb,
    people,
)
from tests.integration.gateway.system import ADMIN_KEY, System, refusal
from tests.integration.gateway.test_sessions import change, is_over, login

ROUTES = admin_pb2.ListRoutesRequest()


def accept(secret: str, name: str = "Eve") -> pb.AcceptInvitationRequest:
    return pb.AcceptInvitationRequest(secret=secret, name=name, password=PASSWORD)


async def test_the_first_admin_comes_in_once_by_the_installations_token(system: System) -> None:
    request = pb.BootstrapRequest(token=STAFF_TOKEN, email=EVE, name="Eve", password=PASSWORD)
    before = await refusal(Nobody(system).Bootstrap(request))
    ada = await first_admin(system)
    after = await refusal(Nobody(system).Bootstrap(request))
    # Stored anew by the job, and still used up.
    await change(system, "DELETE FROM bootstrap_token")
    await change(system, "INSERT INTO bootstrap_token (token_hash) VALUES (sha256($1))", b"x" * 40)
    late = await refusal(
        Nobody(system).Bootstrap(
            pb.BootstrapRequest(token="x" * 40, email=EVE, name="Eve", password=PASSWORD)
        )
    )

    for refused in (before, after, late):
        assert (refused.code, refused.reason) == ("FAILED_PRECONDITION", "TOKEN_NOT_VALID")
    assert (ada.member.email, ada.member.name) == (ADA, "Ada")
    assert list(ada.member.grants) == [grant()]
    await system.staff(ada.session.token).ListAuditEntries(admin_pb2.ListAuditEntriesRequest())


async def test_of_two_who_come_at_once_one_is_the_first_admin(system: System) -> None:
    await first_admin(system)
    await change(system, "DELETE FROM staff_session")
    await change(system, "DELETE FROM staff_grant")
    await change(system, "DELETE FROM staff")
    await change(system, "UPDATE bootstrap_token SET use_time = NULL")
    requests = [
        pb.BootstrapRequest(token=STAFF_TOKEN, email=email, name="x", password=PASSWORD)
        for email in (ADA, EVE)
    ]

    answers = await asyncio.gather(
        *(Nobody(system).Bootstrap(each) for each in requests), return_exceptions=True
    )

    assert sum(isinstance(each, pb.BootstrapResponse) for each in answers) == 1
    rows = await system.fetch("gateway", "SELECT FROM staff")
    assert len(rows) == 1


async def test_an_invitation_works_once_and_gives_what_it_says(system: System) -> None:
    ada = await first_admin(system)
    staff = people(system, ada.session.token)
    made = await staff.InviteStaff(
        pb.InviteStaffRequest(email="Eve@Example.com", grants=[grant(EDITOR)])
    )
    eve = await Nobody(system).AcceptInvitation(accept(made.secret))
    again = await refusal(Nobody(system).AcceptInvitation(accept(made.secret)))
    exists = await refusal(staff.InviteStaff(pb.InviteStaffRequest(email=EVE, grants=[grant()])))
    (listed,) = (await staff.ListInvitations(pb.ListInvitationsRequest())).invitations
    members = (await staff.ListStaff(pb.ListStaffRequest())).members

    assert again.reason == "TOKEN_NOT_VALID"
    assert (exists.code, exists.reason) == ("ALREADY_EXISTS", "STAFF_EXISTS")
    assert (eve.member.email, list(eve.member.grants)) == (EVE, [grant(EDITOR)])
    assert listed.HasField("accept_time")
    assert listed.inviter == ada.member.staff_id
    assert list(members) == [eve.member, ada.member]
    await system.staff(eve.session.token).ListRoutes(ROUTES)
    denied = await refusal(people(system, eve.session.token).ListStaff(pb.ListStaffRequest()))
    assert denied.code == "PERMISSION_DENIED"


async def test_a_replaced_revoked_or_expired_invitation_is_worthless(system: System) -> None:
    ada = await first_admin(system)
    staff = people(system, ada.session.token)
    request = pb.InviteStaffRequest(email=EVE, grants=[grant(VIEWER)])
    replaced = await staff.InviteStaff(request)
    revoked = await staff.InviteStaff(request)
    await staff.RevokeInvitation(
        pb.RevokeInvitationRequest(invitation_id=revoked.invitation.invitation_id)
    )
    expired = await staff.InviteStaff(request)
    await change(system, "UPDATE staff_invitation SET expire_time = now() - interval '1 second'")

    for made in (replaced, revoked, expired):
        refused = await refusal(Nobody(system).AcceptInvitation(accept(made.secret)))
        assert refused.reason == "TOKEN_NOT_VALID"
    unknown = await refusal(
        staff.RevokeInvitation(pb.RevokeInvitationRequest(invitation_id="i_nobody"))
    )
    assert unknown.reason == "INVITATION_NOT_FOUND"


async def test_other_roles_bind_within_a_second_and_the_last_admin_stays(system: System) -> None:
    ada = await first_admin(system)
    staff = people(system, ada.session.token)
    eve = await invited(system, ada.session.token, EVE, grant(VIEWER, "acme"))
    eve_id, token = eve.member.staff_id, eve.session.token
    usage = admin_pb2.GetUsageRequest(start_day="2026-01-01", end_day="2026-01-01", org="acme")
    await system.staff(token).GetUsage(usage)

    for rpc in (
        staff.PutStaffGrants(
            pb.PutStaffGrantsRequest(staff_id=ada.member.staff_id, grants=[grant(VIEWER)])
        ),
        staff.DisableStaff(pb.DisableStaffRequest(staff_id=ada.member.staff_id)),
    ):
        assert (await refusal(rpc)).reason == "LAST_ADMIN"
    await staff.PutStaffGrants(
        pb.PutStaffGrantsRequest(staff_id=eve_id, grants=[grant(VIEWER, "globex")])
    )
    await asyncio.sleep(1.0)

    assert (await refusal(system.staff(token).GetUsage(usage))).code == "PERMISSION_DENIED"
    await staff.PutStaffGrants(pb.PutStaffGrantsRequest(staff_id=eve_id, grants=[grant()]))
    gone = await staff.DisableStaff(pb.DisableStaffRequest(staff_id=ada.member.staff_id))
    assert gone.member.HasField("disable_time")
    assert await is_over(system, ada.session.token)
    assert (await refusal(Nobody(system).Login(login()))).reason == "LOGIN_FAILED"
    await people(system, token).EnableStaff(pb.EnableStaffRequest(staff_id=ada.member.staff_id))
    await Nobody(system).Login(login())


async def test_a_reset_ends_sessions_and_sets_another_password(system: System) -> None:
    ada = await first_admin(system)
    eve = await invited(system, ada.session.token, EVE, grant(VIEWER))
    made = await people(system, ada.session.token).ResetStaffPassword(
        pb.ResetStaffPasswordRequest(staff_id=eve.member.staff_id)
    )
    assert await is_over(system, eve.session.token)
    back = await Nobody(system).AcceptInvitation(
        pb.AcceptInvitationRequest(secret=made.secret, password=PASSWORD + "?")
    )

    assert back.member == eve.member
    assert (await refusal(Nobody(system).Login(login(EVE)))).reason == "LOGIN_FAILED"
    await Nobody(system).Login(login(EVE, PASSWORD + "?"))


async def test_an_admin_of_an_org_deals_with_its_people_only(system: System) -> None:
    ada = await first_admin(system)
    eve = await invited(system, ada.session.token, EVE, grant(ADMIN, "acme"))
    bob = await invited(system, ada.session.token, "bob@example.com", grant(VIEWER, "acme"))
    kim = await invited(
        system,
        ada.session.token,
        "kim@example.com",
        grant(VIEWER, "acme"),
        grant(VIEWER, "globex"),
    )
    own = people(system, eve.session.token)
    bob_id, kim_id = bob.member.staff_id, kim.member.staff_id

    for grants in ([grant(VIEWER)], [grant(VIEWER, "globex")]):
        for rpc in (
            own.InviteStaff(pb.InviteStaffRequest(email="x@example.com", grants=grants)),
            own.PutStaffGrants(pb.PutStaffGrantsRequest(staff_id=bob_id, grants=grants)),
        ):
            assert (await refusal(rpc)).code == "PERMISSION_DENIED"
    for staff_id in (ada.member.staff_id, kim_id, "s_nobody"):
        for rpc in (
            own.DisableStaff(pb.DisableStaffRequest(staff_id=staff_id)),
            own.EnableStaff(pb.EnableStaffRequest(staff_id=staff_id)),
            own.ResetStaffPassword(pb.ResetStaffPasswordRequest(staff_id=staff_id)),
            own.PutStaffGrants(
                pb.PutStaffGrantsRequest(staff_id=staff_id, grants=[grant(VIEWER, "acme")])
            ),
        ):
            assert (await refusal(rpc)).reason == "STAFF_NOT_FOUND"
    listed = (await own.ListStaff(pb.ListStaffRequest(org="acme"))).members
    everybody = await refusal(own.ListStaff(pb.ListStaffRequest()))
    await own.DisableStaff(pb.DisableStaffRequest(staff_id=bob_id))

    assert {each.staff_id for each in listed} == {eve.member.staff_id, bob_id, kim_id}
    assert everybody.code == "PERMISSION_DENIED"


async def test_people_make_calls_only_as_api_users(system: System) -> None:
    ada = await first_admin(system)
    eve = await invited(system, ada.session.token, EVE, grant(admin_pb2.ROLE_BACKEND, "acme"))
    call = gateway_pb2.AdmitCallRequest(
        call_id="01890a5d-ac96-774b-bcce-b302099a8057", operation="summarize"
    )
    admitted = await system.backend(eve.session.token).AdmitCall(call)

    assert admitted.decision.admission.org == "acme"
    for credential in (ada.session.token, ADMIN_KEY):
        assert (await refusal(system.backend(credential).AdmitCall(call))).code == (
            "PERMISSION_DENIED"
        )
    assert (await refusal(system.staff(eve.session.token).ListRoutes(ROUTES))).code == (
        "PERMISSION_DENIED"
    )
