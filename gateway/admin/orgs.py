"""Orgs, as staff see them. When a change returns, every gateway decides by it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from chassis.errors import AlreadyExists, FailedPrecondition, NotFound, PermissionDenied
from gateway.admin import wire_orgs as wire
from gateway.admin.audit import Audit, Intent, describe
from gateway.admin.lists import in_order, take_page
from gateway.domain.orgs import Org
from gateway.org_store import OrgVersion, begin_change, fetch_org, list_orgs, put_org
from gateway.principals import PLATFORM, Principal, Role
from gateway.routes import Routes
from gateway.store import Store, Transaction
from headgate.api.gateway.v1 import org_admin_pb2 as pb

_Change = pb.UpdateOrgRequest | pb.SuspendOrgRequest | pb.ResumeOrgRequest


class StoredOrgs:
    """Registers, changes, suspends and lists orgs."""

    def __init__(self, *, store: Store, routes: Routes, audit: Audit) -> None:
        self._store = store
        self._routes = routes
        self._audit = audit

    async def create(self, request: pb.CreateOrgRequest, who: Principal) -> pb.CreateOrgResponse:
        """Registers an org. Raises AlreadyExists if it is registered as something else."""
        org = wire.parse_profile(request.profile.org, request.profile, field="profile.org")
        intent = describe(who, "CreateOrg", f"org/{org.org}", request)

        async def work(on: Transaction) -> OrgVersion:
            found = await begin_change(on, org.org)
            if found is None:
                return await put_org(on, org, who.actor)
            if _without_state(found.org) == org:
                return found
            raise AlreadyExists(f"{org.org} is registered", reason="ORG_EXISTS", org=org.org)

        stored = await self._audit.change_own(intent, work)
        await self._routes.spread()
        return pb.CreateOrgResponse(profile=wire.render_org(stored))

    async def update(self, request: pb.UpdateOrgRequest, who: Principal) -> pb.UpdateOrgResponse:
        """Replaces what is known. Raises NotFound, FailedPrecondition, PermissionDenied."""
        wanted = wire.parse_profile(request.org, request.profile, field="org")
        intent = describe(who, "UpdateOrg", f"org/{wanted.org}", request)

        def change(org: Org) -> Org:
            is_same = wanted.discount_basis_points == org.discount_basis_points
            if not is_same and not who.may_act(Role.EDITOR):
                raise PermissionDenied(
                    "an org's discount is for staff of the platform", role=Role.EDITOR.value
                )
            return replace(wanted, suspended=org.suspended, suspend_reason=org.suspend_reason)

        stored = await self._change(intent, request, wanted.org, change)
        return pb.UpdateOrgResponse(profile=wire.render_org(stored))

    async def suspend(
        self, request: pb.SuspendOrgRequest, who: Principal
    ) -> pb.SuspendOrgResponse:
        """Suspends an org: its next call is denied. Raises NotFound, FailedPrecondition."""
        wire.check_order(request)
        intent = describe(who, "SuspendOrg", f"org/{request.org_id}", request)
        stored = await self._change(
            intent,
            request,
            request.org_id,
            lambda org: replace(org, suspended=True, suspend_reason=request.reason),
        )
        return pb.SuspendOrgResponse(profile=wire.render_org(stored))

    async def resume(self, request: pb.ResumeOrgRequest, who: Principal) -> pb.ResumeOrgResponse:
        """Lets an org make calls again. Raises NotFound, FailedPrecondition."""
        wire.check_order(request)
        intent = describe(who, "ResumeOrg", f"org/{request.org_id}", request)
        stored = await self._change(intent, request, request.org_id, _without_state)
        return pb.ResumeOrgResponse(profile=wire.render_org(stored))

    async def get(self, request: pb.GetOrgRequest) -> pb.GetOrgResponse:
        """Returns an org. Raises NotFound."""
        found = await fetch_org(self._store, wire.check_name(request.org))
        return pb.GetOrgResponse(profile=wire.render_org(_require(found, request.org)))

    async def list(self, request: pb.ListOrgsRequest, who: Principal) -> pb.ListOrgsResponse:
        """Lists the orgs that the caller may read."""
        place = in_order(request, "orgs")
        named = {grant.org for grant in who.grants if grant.org != PLATFORM}
        only = (
            None
            if who.may_act(Role.VIEWER)
            else sorted(org for org in named if who.may_act(Role.VIEWER, org))
        )
        rows = await list_orgs(self._store, after=place.start, count_max=place.size + 1, only=only)
        page, token = take_page(rows, place, lambda row: row.org.org)
        return pb.ListOrgsResponse(profiles=map(wire.render_org, page), next_page_token=token)

    async def _change(
        self, intent: Intent, request: _Change, name: str, change: Callable[[Org], Org]
    ) -> OrgVersion:
        async def work(on: Transaction) -> OrgVersion:
            found = _require(await begin_change(on, name), name)
            wanted = change(found.org)
            if wanted == found.org:
                # Said twice: nothing is lost, whatever version was expected.
                return found
            if request.HasField("expected_version"):
                _expect(found, request.expected_version)
            return await put_org(on, wanted, intent.actor)

        stored = await self._audit.change_own(intent, work)
        await self._routes.spread()
        return stored


async def write_org(on: Transaction, org: Org, updater: str) -> None:
    """Registers or changes an org; whether it is suspended stays as it is."""
    found = await begin_change(on, org.org)
    if found is None or _without_state(found.org) != org:
        known = org if found is None else found.org
        wanted = replace(org, suspended=known.suspended, suspend_reason=known.suspend_reason)
        await put_org(on, wanted, updater)


def _without_state(org: Org) -> Org:
    return replace(org, suspended=False, suspend_reason="")


def _require(found: OrgVersion | None, name: str) -> OrgVersion:
    if found is None:
        raise NotFound("org", name)
    return found


def _expect(found: OrgVersion, expected: int) -> None:
    if expected != found.version:
        name = found.org.org
        raise FailedPrecondition(
            f"the org {name} has version {found.version}, not {expected}: "
            "look at what was changed, then write again",
            "ORG_CHANGED",
            org=name,
            version=str(found.version),
        )
