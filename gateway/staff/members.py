"""Who is staff, in which roles. What is not in an admin's reach is not found."""

from __future__ import annotations

from collections.abc import Sequence

from chassis.checks import Checks
from chassis.errors import FailedPrecondition, Internal, NotFound, PermissionDenied
from gateway.admin.audit import Audit, describe
from gateway.admin.lists import newest_first, take_page
from gateway.principals import PLATFORM, Grant, Principal, Role
from gateway.staff import wire
from gateway.staff.store import MemberRecord, StaffStore, StaffTransaction
from gateway.store import Transaction
from headgate.api.gateway.v1 import staff_pb2 as pb


class Members:
    """Changes and lists staff."""

    def __init__(self, staff: StaffStore, audit: Audit) -> None:
        self._staff = staff
        self._audit = audit

    async def list(self, request: pb.ListStaffRequest) -> pb.ListStaffResponse:
        """Lists staff, newest first."""
        org = wire.read_org(request)
        place = newest_first(request, f"staff@{org}")
        rows = await self._staff.list_staff(below=place.start, count_max=place.size + 1, org=org)
        page, token = take_page(rows, place, lambda row: row.position)
        return pb.ListStaffResponse(members=map(wire.render_member, page), next_page_token=token)

    async def put_grants(
        self, request: pb.PutStaffGrantsRequest, who: Principal
    ) -> pb.PutStaffGrantsResponse:
        """Replaces somebody's roles. Raises NotFound, PermissionDenied, FailedPrecondition."""
        checks = Checks()
        staff_id = wire.read_id(checks, "staff_id", request.staff_id)
        grants = wire.read_grants(checks, request.grants)
        checks.raise_if_any()
        require_reach(who, grants)

        async def work(on: Transaction) -> MemberRecord:
            changes = StaffTransaction(on)
            await changes.begin()
            before = await find(changes, staff_id, who)
            await changes.put_grants(staff_id, grants)
            await _require_an_admin(changes, before)
            return await require(changes, staff_id)

        intent = describe(who, "PutStaffGrants", f"staff/{staff_id}", request)
        member = await self._audit.change_own(intent, work)
        return pb.PutStaffGrantsResponse(member=wire.render_member(member))

    async def disable(
        self, request: pb.DisableStaffRequest, who: Principal
    ) -> pb.DisableStaffResponse:
        """Locks somebody out. Raises NotFound, FailedPrecondition."""
        staff_id = parse_id(request)

        async def work(on: Transaction) -> MemberRecord:
            changes = StaffTransaction(on)
            await changes.begin()
            before = await find(changes, staff_id, who)
            await changes.set_disabled(staff_id, is_disabled=True)
            await changes.delete_sessions(staff_id)
            await _require_an_admin(changes, before)
            return await require(changes, staff_id)

        intent = describe(who, "DisableStaff", f"staff/{staff_id}", request)
        member = await self._audit.change_own(intent, work)
        return pb.DisableStaffResponse(member=wire.render_member(member))

    async def enable(
        self, request: pb.EnableStaffRequest, who: Principal
    ) -> pb.EnableStaffResponse:
        """Lets somebody in again. Raises NotFound."""
        staff_id = parse_id(request)

        async def work(on: Transaction) -> MemberRecord:
            changes = StaffTransaction(on)
            await changes.begin()
            await find(changes, staff_id, who)
            await changes.set_disabled(staff_id, is_disabled=False)
            return await require(changes, staff_id)

        intent = describe(who, "EnableStaff", f"staff/{staff_id}", request)
        member = await self._audit.change_own(intent, work)
        return pb.EnableStaffResponse(member=wire.render_member(member))


def parse_id(
    request: pb.DisableStaffRequest | pb.EnableStaffRequest | pb.ResetStaffPasswordRequest,
) -> str:
    """Returns whom a request is about. Raises InvalidArgument."""
    checks = Checks()
    staff_id = wire.read_id(checks, "staff_id", request.staff_id)
    checks.raise_if_any()
    return staff_id


def is_reached(grants: Sequence[Grant], who: Principal) -> bool:
    """Says whether an admin may deal with somebody of these roles: with all of them, or not."""
    orgs = [grant.org for grant in grants] or [PLATFORM]
    return all(who.may_act(Role.ADMIN, org) for org in orgs)


def require_reach(who: Principal, grants: Sequence[Grant]) -> None:
    """Raises PermissionDenied for roles that are not the caller's to give."""
    if not is_reached(grants, who):
        raise PermissionDenied(
            "you may give roles only for orgs that you administer", role="admin"
        )


async def find(changes: StaffTransaction, staff_id: str, who: Principal) -> MemberRecord:
    """Returns somebody within the caller's reach. Raises NotFound."""
    member = await changes.fetch_staff(staff_id)
    if member is None or not is_reached(member.grants, who):
        raise NotFound("staff", staff_id)
    return member


async def require(changes: StaffTransaction, staff_id: str) -> MemberRecord:
    """Returns somebody who is there."""
    member = await changes.fetch_staff(staff_id)
    if member is None:
        raise Internal
    return member


async def _require_an_admin(changes: StaffTransaction, before: MemberRecord) -> None:
    """Raises FailedPrecondition if the change takes the last admin away."""
    was_admin = Grant(PLATFORM, Role.ADMIN) in before.grants and before.disable_time is None
    if was_admin and not await changes.count_admins():
        raise FailedPrecondition(
            "nobody would be admin of the whole platform any more; make another one first",
            "LAST_ADMIN",
            staff=before.staff_id,
        )
