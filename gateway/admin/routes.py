"""Routes, as staff see them."""

from __future__ import annotations

from chassis.errors import FailedPrecondition, NotFound
from gateway.admin.audit import Audit, Intent, describe
from gateway.admin.lists import in_order, newest_first, take_page
from gateway.admin.versions import read_expected
from gateway.admin.wire_routes import (
    check_prices,
    parse_operation,
    parse_route,
    parse_tag,
    parse_version,
    render_route,
    render_version,
)
from gateway.domain.calls import Route
from gateway.prices import Prices
from gateway.principals import Principal
from gateway.route_store import (
    NO_VERSION,
    RouteStore,
    RouteVersion,
    Writer,
    begin_change,
    delete_route,
    put_route,
)
from gateway.routes import Routes
from gateway.store import Transaction
from headgate.api.gateway.v1 import admin_pb2 as pb

_Change = pb.PutRouteRequest | pb.DeleteRouteRequest | pb.RollbackRouteRequest


class StoredRoutes:
    """Writes, deletes and lists routes. When a change returns, every gateway decides by it."""

    def __init__(self, *, store: RouteStore, routes: Routes, prices: Prices, audit: Audit) -> None:
        self._store = store
        self._routes = routes
        self._prices = prices
        self._audit = audit

    async def put(self, request: pb.PutRouteRequest, who: Principal) -> pb.PutRouteResponse:
        """Creates or replaces a route. Raises InvalidArgument, FailedPrecondition."""
        route = parse_route(request.route)
        await self._check_prices(route)
        intent = describe(who, "PutRoute", f"route/{route.operation}", request)
        stored = await self._audit.change_own(
            intent, lambda on: write_route(on, route, intent, expected=read_expected(request))
        )
        await self._routes.spread()
        return pb.PutRouteResponse(route=render_route(stored))

    async def delete(
        self, request: pb.DeleteRouteRequest, who: Principal
    ) -> pb.DeleteRouteResponse:
        """Deletes a route. Raises NotFound, FailedPrecondition."""
        operation = parse_operation(request.operation)
        intent = describe(who, "DeleteRoute", f"route/{operation}", request)
        await self._audit.change_own(
            intent, lambda on: _delete(on, operation, intent, expected=read_expected(request))
        )
        await self._routes.spread()
        return pb.DeleteRouteResponse()

    async def roll_back(
        self, request: pb.RollbackRouteRequest, who: Principal
    ) -> pb.RollbackRouteResponse:
        """Writes an earlier version again. Raises as `put`, and NotFound."""
        parse_version(request, minimum=1)
        intent = describe(who, "RollbackRoute", f"route/{request.operation}", request)
        # Versions never change: this one may be read before the change begins.
        old = await self._store.fetch_version(request.operation, request.version)
        if old is not None:
            await self._check_prices(old.route)
        stored = await self._audit.change_own(
            intent, lambda on: _roll_back(on, request, old, intent)
        )
        await self._routes.spread()
        return pb.RollbackRouteResponse(route=render_route(stored))

    async def get(self, request: pb.GetRouteRequest) -> pb.GetRouteResponse:
        """Returns a route as it is, or as it was. Raises NotFound."""
        version = parse_version(request, minimum=0)
        if not version:
            found = await self._store.fetch_route(request.operation)
            if found is None:
                raise NotFound("operation", request.operation)
            version = found.version
        was = await self._store.fetch_version(request.operation, version)
        if was is None:
            raise _no_version(request.operation, version)
        return pb.GetRouteResponse(version=render_version(was))

    async def list(self, request: pb.ListRoutesRequest) -> pb.ListRoutesResponse:
        """Lists routes in order of their operations."""
        place = in_order(request, "routes")
        rows = await self._store.list_routes(
            after=place.start, count_max=place.size + 1, tag=parse_tag(request)
        )
        page, token = take_page(rows, place, lambda row: row.route.operation)
        return pb.ListRoutesResponse(routes=map(render_route, page), next_page_token=token)

    async def list_versions(
        self, request: pb.ListRouteVersionsRequest
    ) -> pb.ListRouteVersionsResponse:
        """Lists what a route was, newest version first."""
        operation = parse_operation(request.operation)
        place = newest_first(request, f"routes/{operation}")
        rows = await self._store.list_route_versions(
            operation, below=place.start, count_max=place.size + 1
        )
        page, token = take_page(rows, place, lambda row: row.version)
        return pb.ListRouteVersionsResponse(
            versions=map(render_version, page), next_page_token=token
        )

    async def _check_prices(self, route: Route) -> None:
        # A price that was set a moment ago counts; without accounting, those of the last pull do.
        await self._prices.try_refresh()
        check_prices(route, self._prices.current())


async def write_route(
    on: Transaction, route: Route, intent: Intent, *, expected: int | None = None
) -> RouteVersion:
    """Creates or replaces a route that has the expected version; None: any."""
    found = await begin_change(on, route.operation)
    if found is not None and found.route == route:
        # A repeat, or somebody else's same idea: nothing is lost, whatever version was expected.
        return found
    _expect(found, expected, route.operation)
    return await put_route(on, route, _writer(intent))


async def delete_if_there(on: Transaction, operation: str, intent: Intent) -> None:
    """Deletes a route, unless it is gone already."""
    if await begin_change(on, operation) is not None:
        await delete_route(on, operation, _writer(intent))


async def _delete(
    on: Transaction, operation: str, intent: Intent, *, expected: int | None
) -> None:
    found = await begin_change(on, operation)
    if found is None:
        raise NotFound("operation", operation)
    _expect(found, expected, operation)
    await delete_route(on, operation, _writer(intent))


async def _roll_back(
    on: Transaction, request: pb.RollbackRouteRequest, old: RouteVersion | None, intent: Intent
) -> RouteVersion:
    found = await begin_change(on, request.operation)
    if old is None:
        raise _no_version(request.operation, request.version)
    if found is not None and found.route == old.route:
        return found
    _expect(found, read_expected(request), request.operation)
    return await put_route(on, old.route, _writer(intent), restored_version=old.version)


def _expect(found: RouteVersion | None, expected: int | None, operation: str) -> None:
    version = NO_VERSION if found is None else found.version
    if expected is not None and expected != version:
        raise FailedPrecondition(
            f"the route of {operation} has version {version}, not {expected}: "
            "look at what was changed, then write again",
            "ROUTE_CHANGED",
            operation=operation,
            version=str(version),
        )


def _writer(intent: Intent) -> Writer:
    return Writer(actor=intent.actor, reason=intent.reason)


def _no_version(operation: str, version: int) -> NotFound:
    return NotFound("route version", f"{operation}/{version}")
