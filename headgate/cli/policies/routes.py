"""Routes in files, as `route_files` has them, without versions: what the file says, wins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from headgate.api.gateway.v1 import admin_pb2
from headgate.cli.policies.kinds import Kind
from headgate.cli.route_files import RouteReader, describe_route

if TYPE_CHECKING:
    from collections.abc import Iterable

    from headgate.api.gateway.v1 import policy_admin_pb2
    from headgate.cli.policies.reading import Reader
    from headgate.cli.session import Session

# What a route has that says nothing of it.
_DEFAULTS: Final = {"max_output_tokens": 4_096, "hold_seconds": 600}


def _read(reader: Reader, path: str, given: Any) -> admin_pb2.Route:
    routes = RouteReader()
    request = routes.read(path, given)
    reader.wrong += routes.wrong
    if not request.route.operation:
        reader.refuse(f"{path}.operation", "required")
    if request.HasField("expected_version"):
        reader.refuse(f"{path}.version", "is not known in files of policies")
    return request.route


def _write(route: admin_pb2.Route) -> dict[str, Any]:
    told = describe_route(route)
    return {name: value for name, value in told.items() if value != _DEFAULTS.get(name)}


def _fetch(session: Session) -> Iterable[admin_pb2.Route]:
    request = admin_pb2.ListRoutesRequest()
    return session.collect(lambda admin: admin.ListRoutes, request).routes


def _delete(request: policy_admin_pb2.ApplyRoutesRequest, route: admin_pb2.Route) -> None:
    request.deleted_operations.append(route.operation)


ROUTES: Final = Kind(
    name="routes",
    key=lambda route: route.operation,
    read=_read,
    write=_write,
    fetch=_fetch,
    delete=_delete,
)
