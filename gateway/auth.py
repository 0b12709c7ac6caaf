"""Who is calling, by API key, and which methods that key may call."""

from __future__ import annotations

import asyncio
import hmac
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from chassis import clock
from chassis.errors import PermissionDenied, Unauthenticated, translate
from gateway import keys
from gateway.keys import Principal, Role

# A changed key binds everywhere within this, as long as the database answers.
POLL_SECONDS: Final = 0.5
# What is remembered counts for so long after the last poll: a revoked key passes no longer.
FRESH_SECONDS: Final = 2.0
# Keys remembered, unknown ones included: a guesser must not fill the memory.
REMEMBERED_COUNT_MAX: Final = 4_096

_BACKEND: Final = "/headgate.api.gateway.v1.GatewayService/"
_ADMIN: Final = "/headgate.api.gateway.v1.AdminService/"
# Role that each method asks for. A method that is nowhere here is refused to everybody.
ROLE_BY_METHOD: Final[Mapping[str, Role]] = {
    **{
        _BACKEND + method: Role.BACKEND
        for method in (
            "AdmitCall",
            "AdmitCalls",
            "CompleteCall",
            "CompleteCalls",
            "ReleaseCall",
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
# What every valid key may call: staff watch what backends see.
OPEN_METHODS: Final = frozenset({_BACKEND + "GetStatus"})
_MISSING: Final = "send `authorization: Bearer <API key>`"
_UNKNOWN: Final = "the API key is unknown or revoked"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredKey:
    """A key as it is stored."""

    principal: Principal
    key_hash: bytes
    revoked: bool


log = structlog.get_logger()


class KeySource(Protocol):
    """Where keys are stored."""

    async def fetch_key(self, key_id: str) -> StoredKey | None:
        """Returns a key by its public part, revoked or not."""

    async def fetch_key_version(self) -> int:
        """Returns a number that grows with each change of a key."""


class KeyAuthenticator:
    """Authenticates by API key, from a memory that a poll of the keys' version keeps true.

    A revoked key is refused at most `FRESH_SECONDS` after the revocation committed, whatever is
    down. Without a fresh poll every key is looked up, and if the database does not answer nobody
    gets in.
    """

    def __init__(self, source: KeySource, *, now: clock.Clock = clock.monotonic) -> None:
        self._source = source
        self._now = now
        # By the whole key's SHA-256, so that no secret stays in memory. None: no such key, or a
        # revoked one.
        self._remembered: OrderedDict[bytes, Principal | None] = OrderedDict()
        self._lookups: dict[bytes, asyncio.Task[Principal | None]] = {}
        self._version = 0
        self._fresh_until = self._now()

    async def __call__(self, metadata: Mapping[str, str], method: str) -> Principal:
        """Returns who calls. Raises Unauthenticated or PermissionDenied."""
        header = metadata.get("authorization", "")
        if header[:7].lower() != "bearer ":
            raise Unauthenticated(_MISSING)
        principal = await self._identify(header[7:])
        if principal is None:
            raise Unauthenticated(_UNKNOWN)
        if ROLE_BY_METHOD.get(method) is not principal.role and method not in OPEN_METHODS:
            role = principal.role.value
            raise PermissionDenied(f"a key of role {role} may not call {method}", role=role)
        return principal

    async def refresh(self) -> None:
        """Forgets all keys if any of them changed."""
        asked = self._now()
        version = await self._source.fetch_key_version()
        if version != self._version:
            self._version = version
            self._remembered.clear()
            # A look-up under way may have read what was before the change.
            self._lookups.clear()
        self._fresh_until = asked + FRESH_SECONDS

    async def keep_fresh(self, *, interval_seconds: float = POLL_SECONDS) -> None:
        """Polls until cancelled."""
        failing = False
        while True:
            try:
                await self.refresh()
                failing = False
            except Exception as error:  # noqa: BLE001 - the keys' memory just grows old
                # Once for each outage, not twice a second.
                if not failing:
                    log.warning("keys_not_refreshed", reason=translate(error).reason)
                failing = True
            await asyncio.sleep(interval_seconds)

    async def _identify(self, key: str) -> Principal | None:
        digest = keys.hash_key(key)
        if digest in self._remembered and self._now() < self._fresh_until:
            # Guesses push out what nobody uses, never a key in use.
            self._remembered.move_to_end(digest)
            return self._remembered[digest]
        key_id = keys.parse_key_id(key)
        if key_id is None:
            return None
        lookup = self._lookups.get(digest)
        if lookup is None:
            lookup = asyncio.create_task(self._look_up(key_id, digest))
            self._lookups[digest] = lookup
            lookup.add_done_callback(lambda done: self._forget_lookup(digest, done))
        # One caller that gives up must not fail the others who wait for the same answer.
        return await asyncio.shield(lookup)

    async def _look_up(self, key_id: str, digest: bytes) -> Principal | None:
        version = self._version
        stored = await self._source.fetch_key(key_id)
        principal = None
        if (
            stored is not None
            and hmac.compare_digest(stored.key_hash, digest)
            and not stored.revoked
        ):
            principal = stored.principal
        if version == self._version:
            self._remember(digest, principal)
        return principal

    def _remember(self, digest: bytes, principal: Principal | None) -> None:
        self._remembered[digest] = principal
        self._remembered.move_to_end(digest)
        while len(self._remembered) > REMEMBERED_COUNT_MAX:
            self._remembered.popitem(last=False)

    def _forget_lookup(self, digest: bytes, done: asyncio.Task[Principal | None]) -> None:
        if self._lookups.get(digest) is done:
            del self._lookups[digest]
