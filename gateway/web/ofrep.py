"""Toggles for any OpenFeature SDK: the OpenFeature Remote Evaluation Protocol, version 1.

The context's `org` and `operation` choose the rule; without an org it is the key's only one. Who
asks shows an API key, as for every RPC.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from chassis.errors import ServiceError
from gateway.domain.toggles import Toggle
from gateway.health_watch import HealthCopy
from gateway.principals import Principal, Role

BODY_BYTES_MAX: Final = 16_384
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_BEARER: Final = "bearer "

# Returns who shows this key. Raises ServiceError.
Authenticate = Callable[[str], Awaitable[Principal]]


class _RefusedError(Exception):
    """The request is answered with an error."""

    def __init__(self, status: int, code: str, details: str) -> None:
        super().__init__(details)
        self.status = status
        self.code = code


class Flags:
    """Evaluates toggles from the gateway's copy of health's state."""

    def __init__(self, copy: HealthCopy, authenticate: Authenticate) -> None:
        self._copy = copy
        self._authenticate = authenticate

    def routes(self) -> list[Route]:
        """Returns the protocol's paths."""
        return [
            Route("/evaluate/flags/{key}", self.evaluate, methods=["POST"]),
            Route("/evaluate/flags", self.evaluate_all, methods=["POST"]),
        ]

    async def evaluate(self, request: Request) -> Response:
        """Evaluates one toggle."""
        key = str(request.path_params["key"])
        try:
            org, operation = await self._read(request)
            toggle = self._copy.toggles.get(key)
            if toggle is None:
                raise _RefusedError(404, "FLAG_NOT_FOUND", "there is no such toggle")
        except _RefusedError as error:
            body = {"key": key[:64], "errorCode": error.code, "errorDetails": str(error)}
            return JSONResponse(body, status_code=error.status)
        return JSONResponse(_render(toggle, org, operation, stale=self._copy.stale))

    async def evaluate_all(self, request: Request) -> Response:
        """Evaluates all toggles; an unchanged answer is not sent twice to who shows its tag."""
        try:
            org, operation = await self._read(request)
        except _RefusedError as error:
            body = {"errorCode": error.code, "errorDetails": str(error)}
            return JSONResponse(body, status_code=error.status)
        stale = self._copy.stale
        toggles = sorted(self._copy.toggles.items())
        flags = [_render(toggle, org, operation, stale=stale) for _, toggle in toggles]
        text = json.dumps({"flags": flags}, separators=(",", ":"))
        tag = f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers={"etag": tag})
        return Response(text, media_type="application/json", headers={"etag": tag})

    async def _read(self, request: Request) -> tuple[str, str]:
        """Returns whose toggles are asked for. Raises _RefusedError."""
        who = await self._identify(request)
        if not self._copy.known.is_set():
            raise _RefusedError(503, "PROVIDER_NOT_READY", "health has not told its state yet")
        context = await _read_context(request)
        org, operation = _read_name(context, "org"), _read_name(context, "operation")
        if not org and len(who.orgs) == 1:
            (org,) = who.orgs
        if org and org not in who.orgs and not who.may_act(Role.VIEWER, org):
            raise _RefusedError(403, "GENERAL", "the key may not act for this org")
        return org, operation

    async def _identify(self, request: Request) -> Principal:
        shown = request.headers.get("authorization", "")
        if not shown.lower().startswith(_BEARER):
            raise _RefusedError(401, "GENERAL", "send an API key: `authorization: Bearer <key>`")
        try:
            return await self._authenticate(shown)
        except ServiceError as error:
            status = 503 if error.code.name == "UNAVAILABLE" else 401
            raise _RefusedError(status, "GENERAL", error.message) from None


def _render(toggle: Toggle, org: str, operation: str, *, stale: bool) -> dict[str, object]:
    enabled, why = toggle.evaluate(org=org, operation=operation)
    return {
        "key": toggle.toggle_id,
        "value": enabled,
        "variant": "on" if enabled else "off",
        "reason": "STALE" if stale else why.value,
        "metadata": {"locked": toggle.locked},
    }


def _read_name(context: Mapping[str, object], field: str) -> str:
    value = context.get(field, "")
    if not isinstance(value, str) or (value and NAME.fullmatch(value) is None):
        raise _RefusedError(400, "INVALID_CONTEXT", f"{field} must be a name")
    return value


async def _read_context(request: Request) -> Mapping[str, object]:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            raise _RefusedError(413, "PARSE_ERROR", f"send at most {BODY_BYTES_MAX} bytes")
    if not body:
        return {}
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        raise _RefusedError(400, "PARSE_ERROR", "the body is no JSON") from None
    context = parsed.get("context", {}) if isinstance(parsed, dict) else None
    if not isinstance(context, dict):
        raise _RefusedError(400, "INVALID_CONTEXT", "the context must be an object")
    return context
