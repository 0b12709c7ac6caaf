"""The status for web pages: a stream of server-sent events, and a banner that follows it."""

from __future__ import annotations

import html
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from chassis.errors import ServiceError, Unauthenticated
from gateway.status_tokens import Reader, StatusTokens
from gateway.status_watch import StatusWatch
from headgate.api.gateway.v1 import gateway_pb2 as pb

STATIC: Final = Path(__file__).parent / "static"
# Nothing from anywhere else runs on our page; whoever wants to may frame it.
PAGE_HEADERS: Final = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
# The token alone says what may be read, so any page's origin may.
OPEN_HEADERS: Final = {"access-control-allow-origin": "*", "x-content-type-options": "nosniff"}
_SEVERITIES: Final = {
    pb.BANNER_SEVERITY_WARNING: "warning",
    pb.BANNER_SEVERITY_CRITICAL: "critical",
}
_LEVELS: Final = {
    pb.PROVIDER_LEVEL_HEALTHY: "healthy",
    pb.PROVIDER_LEVEL_DEGRADED: "degraded",
    pb.PROVIDER_LEVEL_DOWN: "down",
}


class StatusPages:
    """Serves the banner and what it follows."""

    def __init__(self, watch: StatusWatch, tokens: StatusTokens) -> None:
        self._watch = watch
        self._tokens = tokens

    def routes(self) -> list[BaseRoute]:
        """Returns the paths."""
        return [
            Route("/events", self.events),
            Route("/banner", self.page),
            Route("/banner.js", _static("banner.js", "text/javascript")),
            Route("/banner.css", _static("banner.css", "text/css")),
        ]

    async def events(self, request: Request) -> Response:
        """Streams the org's status: an event with all that a page needs whenever it changes.

        The stream ends with its token.
        """
        try:
            reader = self._tokens.read(request.query_params.get("token", ""))
        except Unauthenticated as error:
            return JSONResponse({"error": error.message}, 401, headers=OPEN_HEADERS)
        headers = {**OPEN_HEADERS, "cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(
            self._stream(reader), headers=headers, media_type="text/event-stream"
        )

    async def page(self, request: Request) -> Response:
        """A page with nothing but the banner, to be framed or looked at."""
        token = html.escape(request.query_params.get("token", ""), quote=True)
        body = (
            '<!doctype html><html lang="en"><meta charset="utf-8"><title>Status</title>'
            '<link rel="stylesheet" href="banner.css">'
            '<body class="headgate-page">'
            f'<script src="banner.js" data-token="{token}" defer></script></body></html>'
        )
        return HTMLResponse(body, headers=PAGE_HEADERS)

    async def _stream(self, reader: Reader) -> AsyncIterator[str]:
        told, until = "", time.monotonic() + reader.seconds
        try:
            async with aclosing(self._watch.watch(reader.org)) as statuses:
                # News or a heartbeat come each second or two.
                async for status in statuses:
                    if time.monotonic() > until:
                        return
                    now = _render(self._watch.read(reader.org))
                    text = json.dumps(now, separators=(",", ":"))
                    if text == told:
                        yield ": still here\n\n"
                        continue
                    told = text
                    yield f"id: {status.version}\ndata: {text}\n\n"
        except ServiceError as error:
            yield f"event: refused\ndata: {json.dumps(error.message)}\n\n"


def _render(status: pb.OrgStatus) -> dict[str, object]:
    banner = None
    if status.HasField("banner"):
        severity = _SEVERITIES.get(status.banner.severity, "warning")
        banner = {"severity": severity, "text": status.banner.text}
    return {
        "banner": banner,
        "stale": status.stale,
        "providers": {each.provider: _LEVELS[each.level] for each in status.providers},
    }


def _static(name: str, media_type: str) -> Callable[[Request], Awaitable[Response]]:
    text = (STATIC / name).read_text()

    async def serve(_: Request) -> Response:
        return Response(text, media_type=media_type, headers=OPEN_HEADERS)

    return serve
