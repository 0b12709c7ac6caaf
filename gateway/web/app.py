"""The site map: which path is answered by what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Final

import structlog
from google.protobuf.descriptor import ServiceDescriptor
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Router

from chassis.errors import Internal
from gateway.web import reference
from gateway.web.ofrep import Flags
from gateway.web.rest import problems
from gateway.web.rest.problems import RequestRefusedError
from gateway.web.rest.transcoder import Transcoder
from gateway.web.status import StatusPages
from headgate.api.gateway.v1 import (
    admin_pb2,
    alert_admin_pb2,
    api_admin_pb2,
    approval_admin_pb2,
    book_admin_pb2,
    channel_admin_pb2,
    event_admin_pb2,
    forecast_admin_pb2,
    gateway_pb2,
    limit_admin_pb2,
    org_admin_pb2,
    policy_admin_pb2,
    staff_pb2,
    template_admin_pb2,
)

# What is served over HTTP: the backends' API first, then all that staff do.
SERVICES: Final[tuple[ServiceDescriptor, ...]] = tuple(
    service
    for module in (
        gateway_pb2,
        admin_pb2,
        limit_admin_pb2,
        book_admin_pb2,
        alert_admin_pb2,
        channel_admin_pb2,
        event_admin_pb2,
        forecast_admin_pb2,
        staff_pb2,
        template_admin_pb2,
        policy_admin_pb2,
        org_admin_pb2,
        approval_admin_pb2,
        api_admin_pb2,
    )
    for service in module.DESCRIPTOR.services_by_name.values()
)

log = structlog.get_logger()


def build_app(flags: Flags, status: StatusPages, transcoder: Transcoder) -> Starlette:
    """Returns the application; each part brings its own routes."""
    app = Starlette(
        routes=[
            Mount("/ofrep/v1", app=_router(flags.routes())),
            Mount("/status", app=_router(status.routes())),
            *reference.routes(),
            *transcoder.routes(),
        ],
        exception_handlers={HTTPException: _refuse, Exception: _fail},
    )
    app.router.redirect_slashes = False
    return app


def _router(routes: Sequence[BaseRoute]) -> Router:
    # A redirection would send the caller, key and all, to whatever host the request names.
    return Router(routes, redirect_slashes=False)


async def _refuse(request: Request, error: Exception) -> Response:
    """Answers what the router refuses: an unknown path, another verb."""
    status = error.status_code if isinstance(error, HTTPException) else HTTPStatus.NOT_FOUND
    headers: Mapping[str, str] | None = getattr(error, "headers", None)
    name = HTTPStatus(status).name
    response = problems.respond(
        RequestRefusedError(status, name, "see /openapi.json for the paths and their verbs")
    )
    response.headers.update(headers or {})
    return response


async def _fail(request: Request, error: Exception) -> Response:
    log.error("http_request_failed", path=request.url.path, exc_info=error)
    return problems.respond(Internal())
