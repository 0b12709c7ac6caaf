"""Sets of routes, templates and orgs, the gateway's: written as a whole or not at all."""

from __future__ import annotations

from gateway.admin.audit import Audit, Intent, describe
from gateway.admin.orgs import write_org
from gateway.admin.routes import delete_if_there, write_route
from gateway.admin.wire_policies import RouteSet, check_set_prices, parse_route_set
from gateway.prices import Prices
from gateway.principals import Principal
from gateway.routes import Routes
from gateway.store import Store, Transaction
from gateway.template_store import delete_template_if_there, put_template
from headgate.api.gateway.v1 import policy_admin_pb2 as pb


class StoredSets:
    """Writes sets. When a change returns, every gateway decides by it."""

    def __init__(self, *, store: Store, routes: Routes, prices: Prices, audit: Audit) -> None:
        self._store = store
        self._routes = routes
        self._prices = prices
        self._audit = audit

    async def apply(
        self, request: pb.ApplyRoutesRequest, who: Principal
    ) -> pb.ApplyRoutesResponse:
        """Writes a set, or finds out whether it could.

        Raises InvalidArgument, FailedPrecondition.
        """
        wanted = parse_route_set(request)
        await self._prices.try_refresh()
        check_set_prices(wanted, self._prices.current(), request)
        intent = describe(who, "ApplyRoutes", f"routes/{wanted.count}", request)
        if request.validate_only:
            async with self._store.transaction(keep=False) as transaction:
                await _write(transaction, wanted, intent)
        else:
            await self._audit.change_own(intent, lambda on: _write(on, wanted, intent))
            await self._routes.spread()
        return pb.ApplyRoutesResponse()


async def _write(on: Transaction, wanted: RouteSet, intent: Intent) -> None:
    actor, reason = intent.actor, intent.reason
    for operation in wanted.deleted_operations:
        await delete_if_there(on, operation, intent)
    for template_id in wanted.deleted_template_ids:
        await delete_template_if_there(on, template_id, actor=actor, reason=reason)
    for org in wanted.orgs:
        await write_org(on, org, intent.actor)
    for template in wanted.templates:
        await put_template(on, template, base_revision=0, actor=actor, reason=reason)
    for route in wanted.routes:
        await write_route(on, route, intent)
