"""Routes, as staff see them."""

from __future__ import annotations

from chassis.errors import NotFound
from gateway.admin.audit import Audit, describe
from gateway.admin.lists import in_order, take_page
from gateway.admin.wire import parse_operation, parse_route, render_route
from gateway.principals import Principal
from gateway.store import Store, Transaction
from headgate.api.gateway.v1 import admin_pb2 as pb


class StoredRoutes:
    """Writes, deletes and lists routes. A change binds everywhere within a poll of the routes."""

    def __init__(self, store: Store, audit: Audit) -> None:
        self._store = store
        self._audit = audit

    async def put(self, request: pb.PutRouteRequest, who: Principal) -> pb.PutRouteResponse:
        """Creates or replaces a route."""
        route = parse_route(request)
        intent = describe(who, "PutRoute", f"route/{route.operation}", request)
        await self._audit.change_own(intent, lambda on: on.put_route(route))
        return pb.PutRouteResponse(route=render_route(route))

    async def delete(
        self, request: pb.DeleteRouteRequest, who: Principal
    ) -> pb.DeleteRouteResponse:
        """Deletes a route. Raises NotFound."""
        operation = parse_operation(request)
        intent = describe(who, "DeleteRoute", f"route/{operation}", request)
        await self._audit.change_own(intent, lambda on: _delete(on, operation))
        return pb.DeleteRouteResponse()

    async def list(self, request: pb.ListRoutesRequest) -> pb.ListRoutesResponse:
        """Lists routes in order of their operations."""
        place = in_order(request, "routes")
        rows = await self._store.list_routes(after=place.start, count_max=place.size + 1)
        page, token = take_page(rows, place, lambda row: row.operation)
        return pb.ListRoutesResponse(routes=map(render_route, page), next_page_token=token)


async def _delete(on: Transaction, operation: str) -> None:
    if not await on.delete_route(operation):
        raise NotFound("operation", operation)
