"""Who is calling, by API key, and which methods that key may call."""

from __future__ import annotations

import asyncio
import hmac
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from chassis import clock
from chassis.errors import PermissionDenied, Unauthenticated
from gateway import keys
from gateway.keys import Principal, Role

# A revoked key passes for at most this long.
FRESH_SECONDS: Final = 0.5
# Keys remembered, unknown ones included: a guesser must not fill the memory.
REMEMBERED_COUNT_MAX: Final = 4_096

_BACKEND: Final = "/headgate.api.gateway.v1.GatewayService/"
_ADMIN: Final = "/headgate.api.gateway.v1.AdminService/"
# Role that each method asks for. A method that is not here is refused to everybody.
ROLE_BY_METHOD: Final[Mapping[str, Role]] = {
    **{
        _BACKEND + method: Role.BACKEND
        for method in (
            "AdmitCall",
            "AdmitCalls",
            "CompleteCall",
            "CompleteCalls",
            "ReleaseCall",
            "GetStatus",
        )
    },
    **{
        _ADMIN + method: Role.ADMIN
        for method in (
            "CreateApiKey",
            "RevokeApiKey",
            "ListApiKeys",
            "PutRoute",
            "DeleteRoute",
            "ListRoutes",
            "PutLimit",
            "DeleteLimit",
            "ListLimits",
            "ListCounters",
            "PutPrice",
            "DeletePrice",
            "ListPrices",
            "GetUsage",
            "Kill",
            "Resume",
            "ListAuditEntries",
        )
    },
}
_MISSING: Final = "send `authorization: Bearer <API key>`"
_UNKNOWN: Final = "the API key is unknown or revoked"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredKey:
    """A key as it is stored."""

    principal: Principal
    key_hash: bytes
    revoked: bool


# Looks a key up by its public part.
Find = Callable[[str], Awaitable[StoredKey | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Remembered:
    # None: no such key, or a revoked one.
    principal: Principal | None
    until: float


class KeyAuthenticator:
    """Authenticates by API key, from a short memory backed by one look-up at a time for each key.

    A revoked key is refused at most `FRESH_SECONDS` after the revocation committed. When the
    database does not answer, nobody whose key is not fresh gets in.
    """

    def __init__(self, find: Find, *, now: clock.Clock = clock.monotonic) -> None:
        self._find = find
        self._now = now
        # By the whole key's SHA-256, so that no secret stays in memory.
        self._remembered: OrderedDict[bytes, _Remembered] = OrderedDict()
        self._lookups: dict[bytes, asyncio.Task[Principal | None]] = {}

    async def __call__(self, metadata: Mapping[str, str], method: str) -> Principal:
        """Returns who calls. Raises Unauthenticated or PermissionDenied."""
        header = metadata.get("authorization", "")
        if header[:7].lower() != "bearer ":
            raise Unauthenticated(_MISSING)
        principal = await self._identify(header[7:])
        if principal is None:
            raise Unauthenticated(_UNKNOWN)
        if ROLE_BY_METHOD.get(method) is not principal.role:
            role = principal.role.value
            raise PermissionDenied(f"a key of role {role} may not call {method}", role=role)
        return principal

    async def _identify(self, key: str) -> Principal | None:
        digest = keys.hash_key(key)
        remembered = self._remembered.get(digest)
        if remembered is not None and self._now() < remembered.until:
            return remembered.principal
        key_id = keys.parse_key_id(key)
        if key_id is None:
            return None
        lookup = self._lookups.get(digest)
        if lookup is None:
            lookup = asyncio.create_task(self._look_up(key_id, digest))
            self._lookups[digest] = lookup
            lookup.add_done_callback(lambda _: self._lookups.pop(digest, None))
        # One caller that gives up must not fail the others who wait for the same answer.
        return await asyncio.shield(lookup)

    async def _look_up(self, key_id: str, digest: bytes) -> Principal | None:
        # Counted from before the read: what was revoked meanwhile is seen in time.
        until = self._now() + FRESH_SECONDS
        stored = await self._find(key_id)
        principal = None
        if (
            stored is not None
            and hmac.compare_digest(stored.key_hash, digest)
            and not stored.revoked
        ):
            principal = stored.principal
        self._remembered[digest] = _Remembered(principal=principal, until=until)
        self._remembered.move_to_end(digest)
        while len(self._remembered) > REMEMBERED_COUNT_MAX:
            self._remembered.popitem(last=False)
        return principal
