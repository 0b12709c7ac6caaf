"""The OpenID provider: what it says of itself, its keys, and codes for tokens."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import httpx2
import structlog
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from chassis import clock
from chassis.errors import PeerUnavailable
from gateway.staff.oidc.addresses import check_address
from gateway.staff.oidc.tokens import (
    Expected,
    Person,
    UntrustedError,
    read_id_token,
    read_person,
)

TIMEOUT_SECONDS: Final = 5.0
ANSWER_BYTES_MAX: Final = 262_144
# What the provider says of itself is read anew after so long.
KEPT_SECONDS: Final = 3_600.0
# An unknown key makes us look again, but not more often: anybody can show a token.
ROTATED_SECONDS: Final = 10.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """What we are to the provider."""

    issuer: str
    client_id: str
    # None: a public client; the code is bound to us by PKCE alone.
    client_secret: str | None
    scopes: str
    groups_claim: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    metadata: Mapping[str, Any]
    keys: KeySet
    read_at: float


class Provider:
    """Asks one provider, over TLS unless it is on this machine. Follows no redirect."""

    def __init__(self, client: Client, *, now: clock.Clock = clock.monotonic) -> None:
        self.client = client
        self._now = now
        self._http = httpx2.AsyncClient(timeout=TIMEOUT_SECONDS, follow_redirects=False)
        self._known: _Known | None = None
        self._reading = asyncio.Lock()

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    async def authorization_url(
        self, *, redirect_uri: str, state: str, nonce: str, challenge: str
    ) -> str:
        """Returns the page to open. Raises PeerUnavailable."""
        known = await self._read()
        query = {
            "response_type": "code",
            "client_id": self.client.client_id,
            "redirect_uri": redirect_uri,
            "scope": self.client.scopes,
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        page = str(known.metadata["authorization_endpoint"])
        return page + ("&" if urlsplit(page).query else "?") + urlencode(query)

    async def redeem(
        self, code: str, *, redirect_uri: str, verifier: str, expected: Expected
    ) -> Person:
        """Returns whom a code stands for. Raises UntrustedError, PeerUnavailable."""
        known = await self._read()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        answer = await self._post(str(known.metadata["token_endpoint"]), form)
        claims = await self._read_token(str(answer.get("id_token", "")), expected)
        if self.client.groups_claim not in claims:
            claims |= await self._ask_more(answer, claims)
        return read_person(claims, self.client.groups_claim)

    async def _read_token(self, token: str, expected: Expected) -> dict[str, Any]:
        known = await self._read()
        try:
            return read_id_token(token, known.keys, expected)
        except UntrustedError:
            # Perhaps by a key that is newer than what we know.
            renewed = await self._read(older_than=self._now() - ROTATED_SECONDS)
            if renewed is known:
                raise
        return read_id_token(token, renewed.keys, expected)

    async def _ask_more(
        self, answer: Mapping[str, Any], claims: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Returns what the provider tells of a person outside of the token."""
        known = await self._read()
        page = known.metadata.get("userinfo_endpoint")
        if not isinstance(page, str) or not isinstance(answer.get("access_token"), str):
            return {}
        try:
            check_address(page)
        except ValueError as error:
            raise UntrustedError(str(error)) from None
        told = await self._get(page, {"authorization": f"Bearer {answer['access_token']}"})
        if told.get("sub") != claims["sub"]:
            raise UntrustedError("what is told of the person is of another one")
        names = ("email", "email_verified", "name", self.client.groups_claim)
        return {name: told[name] for name in names if name in told and name not in claims}

    async def _read(self, *, older_than: float | None = None) -> _Known:
        """Returns what the provider says of itself, from the memory if that is young enough."""
        async with self._reading:
            limit = self._now() - KEPT_SECONDS if older_than is None else older_than
            if self._known is None or self._known.read_at <= limit:
                self._known = await self._discover()
            return self._known

    async def _discover(self) -> _Known:
        issuer = self.client.issuer
        page = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
        try:
            metadata = await self._get(page)
            if metadata.get("issuer") != issuer:
                raise UntrustedError("its document is of another issuer")
            for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
                check_address(str(metadata.get(name)))
            keys = await self._get(str(metadata["jwks_uri"]))
            key_set = KeySet.import_key_set({"keys": list(keys.get("keys", []))})
        except (UntrustedError, JoseError, ValueError, TypeError) as error:
            log.warning("oidc_provider_unusable", issuer=issuer, why=str(error)[:200])
            raise PeerUnavailable("the OpenID provider") from None
        return _Known(metadata=metadata, keys=key_set, read_at=self._now())

    async def _post(self, page: str, form: dict[str, str]) -> dict[str, Any]:
        secret = self.client.client_secret
        if secret is None:
            return await self._ask("POST", page, data=form | {"client_id": self.client.client_id})
        return await self._ask("POST", page, data=form, auth=(self.client.client_id, secret))

    async def _get(self, page: str, headers: dict[str, str] | None = None) -> dict[str, Any]:
        return await self._ask("GET", page, headers=headers)

    async def _ask(self, verb: str, page: str, **sent: Any) -> dict[str, Any]:
        body = b""
        try:
            async with self._http.stream(verb, page, **sent) as answer:
                async for part in answer.aiter_bytes():
                    body += part
                    if len(body) > ANSWER_BYTES_MAX:
                        raise UntrustedError("it answers too much")
        except httpx2.HTTPError as error:
            log.warning("oidc_provider_away", page=page[:200], error=type(error).__name__)
            raise PeerUnavailable("the OpenID provider") from None
        if answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise PeerUnavailable("the OpenID provider")
        if answer.status_code != HTTPStatus.OK:
            raise UntrustedError(f"it answers {answer.status_code} to a {verb}")
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            raise UntrustedError("it answers what is no JSON") from None
        if not isinstance(document, dict):
            raise UntrustedError("it answers no object")
        return document
