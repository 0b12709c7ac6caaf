"""The site map: which path is answered by what."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.routing import Mount

from gateway.web.ofrep import Flags
from gateway.web.status import StatusPages


def build_app(flags: Flags, status: StatusPages) -> Starlette:
    """Returns the application; each part brings its own routes."""
    return Starlette(
        routes=[
            Mount("/ofrep/v1", routes=flags.routes()),
            Mount("/status", routes=status.routes()),
        ]
    )
