"""A small OpenID provider: real HTTP, real signatures, and lies when a test wants them."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import secrets
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs, urlencode

from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from gateway.web.server import WebServer

CLIENT_ID: Final = "headgate"
CLIENT_SECRET: Final = "tests-only-secret-of-a-client"


@dataclass
class Provider:
    """Logs in whoever comes, as `person`."""

    issuer: str
    person: dict[str, Any] = field(default_factory=dict)
    # What its tokens say in place of the truth; None: nothing.
    lies: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, Any] = field(default_factory=lambda: {"alg": "RS256"})
    signing_key: RSAKey = field(default_factory=lambda: new_key())  # noqa: PLW0108 - stands below
    published: list[RSAKey] = field(default_factory=list)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    in_token: bool = True

    def routes(self) -> list[Route]:
        self.published = [self.signing_key]
        return [
            Route("/.well-known/openid-configuration", self.describe),
            Route("/keys", self.show_keys),
            Route("/authorize", self.authorize),
            Route("/token", self.give_token, methods=["POST"]),
            Route("/person", self.tell),
        ]

    def rotate(self) -> None:
        """Signs with a new key from now on."""
        self.signing_key = new_key()
        self.published = [self.signing_key]

    async def describe(self, request: Request) -> Response:
        return JSONResponse(
            {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "userinfo_endpoint": f"{self.issuer}/person",
                "jwks_uri": f"{self.issuer}/keys",
            }
        )

    async def show_keys(self, request: Request) -> Response:
        return JSONResponse(KeySet(self.published).as_dict(private=False))  # type: ignore[arg-type]  # a list is invariant

    async def authorize(self, request: Request) -> Response:
        asked = dict(request.query_params)
        assert asked["client_id"] == CLIENT_ID
        assert asked["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(16)
        self.codes[code] = asked
        query = urlencode({"code": code, "state": asked["state"]})
        return RedirectResponse(f"{asked['redirect_uri']}?{query}")

    async def give_token(self, request: Request) -> Response:
        shown = base64.b64decode(request.headers["authorization"].removeprefix("Basic ")).decode()
        form = {
            name: values[0] for name, values in parse_qs((await request.body()).decode()).items()
        }
        asked = self.codes.pop(form["code"], None)
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        is_right = (
            asked is not None
            and shown == f"{CLIENT_ID}:{CLIENT_SECRET}"
            and challenge == asked["code_challenge"]
            and form["redirect_uri"] == asked["redirect_uri"]
        )
        if not is_right or asked is None:
            return JSONResponse({"error": "invalid_grant"}, status_code=400)
        return JSONResponse(
            {"access_token": "x", "token_type": "Bearer", "id_token": self.sign(asked["nonce"])}
        )

    def sign(self, nonce: str) -> str:
        now = int(time.time())
        told = self.person if self.in_token else {"sub": self.person["sub"]}
        claims = {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 300,
            "nonce": nonce,
            **told,
            **self.lies,
        }
        if self.headers["alg"] == "none":
            parts = [json.dumps(each).encode() for each in (self.headers, claims)]
            return (
                ".".join(base64.urlsafe_b64encode(each).rstrip(b"=").decode() for each in parts)
                + "."
            )
        headers = {"kid": self.signing_key.kid, **self.headers}
        return jwt.encode(headers, claims, self.signing_key)

    async def tell(self, request: Request) -> Response:
        return JSONResponse(self.person)


def new_key() -> RSAKey:
    key = RSAKey.generate_key(2048, {"use": "sig"})
    key.ensure_kid()
    return key


@asynccontextmanager
async def provider_running() -> AsyncIterator[Provider]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = "{}:{}".format(*free.getsockname())
    provider = Provider(issuer=f"http://{address}")
    server = WebServer(Starlette(routes=provider.routes()), address)
    running = asyncio.create_task(server.run())
    try:
        yield provider
    finally:
        await server.close()
        await running
