"""Who is calling, by API key or session, from a memory that costs no round trip."""

from __future__ import annotations

import asyncio
import hmac
import math
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from chassis import clock
from chassis.errors import Unauthenticated, translate
from gateway import access, keys
from gateway.principals import Principal

# The poll behind the notifications: how late a changed key binds when they are lost.
POLL_SECONDS: Final = 0.25
# What is remembered counts for so long after the last poll: a revoked key passes no longer.
FRESH_SECONDS: Final = 0.9
# Keys remembered, unknown ones included: a guesser must not fill the memory.
REMEMBERED_COUNT_MAX: Final = 4_096

_MISSING: Final = "send `authorization: Bearer <API key>`"
_UNKNOWN: Final = "the API key is unknown, expired or revoked"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredKey:
    """A key as it is stored."""

    principal: Principal
    key_hash: bytes
    # Seconds for which it is valid yet, by the database's clock: infinite without an expiry, not
    # positive once it is expired or revoked.
    remaining_seconds: float


log = structlog.get_logger()


class KeySource(Protocol):
    """Where keys are stored."""

    async def fetch_key(self, key_id: str) -> StoredKey | None:
        """Returns a key by its public part, valid or not."""

    async def fetch_key_version(self) -> int:
        """Returns a number that grows with each change of a key."""


@dataclass(frozen=True, slots=True)
class _Known:
    # None: no such key, or one that is valid no more.
    principal: Principal | None
    methods: frozenset[str]
    # Until then what is known here holds, if nothing changes.
    until: float


_NOBODY: Final = _Known(None, frozenset(), math.inf)


class KeyAuthenticator:
    """Authenticates by API key, from a memory that a poll of the keys' version keeps true.

    A revoked or expired key is refused at most `FRESH_SECONDS` after that committed, whatever is
    down. Without a fresh poll every key is looked up, and if the database does not answer nobody
    gets in.
    """

    def __init__(self, source: KeySource, *, now: clock.Clock = clock.monotonic) -> None:
        self._source = source
        self._now = now
        # Set by whoever hears that something changed: the next poll is due at once.
        self.woken = asyncio.Event()
        # Public parts of the keys that were used since somebody last took them.
        self.used: set[str] = set()
        # By the whole key's SHA-256, so that no secret stays in memory.
        self._remembered: OrderedDict[bytes, _Known] = OrderedDict()
        self._lookups: dict[bytes, asyncio.Task[_Known]] = {}
        self._version = 0
        self._fresh_until = self._now()

    async def __call__(self, metadata: Mapping[str, str], method: str) -> Principal:
        """Returns who calls. Raises Unauthenticated or PermissionDenied."""
        header = metadata.get("authorization", "")
        if header[:7].lower() != "bearer ":
            raise Unauthenticated(_MISSING)
        known = await self._identify(header[7:])
        principal = known.principal
        if principal is None:
            raise Unauthenticated(_UNKNOWN)
        self.used.add(principal.actor)
        if method not in known.methods:
            raise access.refuse(principal, method)
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
            self.woken.clear()
            try:
                await self.refresh()
                failing = False
            except Exception as error:  # noqa: BLE001 - the keys' memory just grows old
                # Once for each outage, not four times a second.
                if not failing:
                    log.warning("keys_not_refreshed", reason=translate(error).reason)
                failing = True
            with suppress(TimeoutError):
                async with asyncio.timeout(interval_seconds):
                    await self.woken.wait()

    async def _identify(self, key: str) -> _Known:
        digest = keys.hash_key(key)
        known = self._remembered.get(digest)
        if known is not None and self._fresh_until > self._now() < known.until:
            # Guesses push out what nobody uses, never a key in use.
            self._remembered.move_to_end(digest)
            return known
        key_id = keys.parse_key_id(key)
        if key_id is None:
            return _NOBODY
        lookup = self._lookups.get(digest)
        if lookup is None:
            lookup = asyncio.create_task(self._look_up(key_id, digest))
            self._lookups[digest] = lookup
            lookup.add_done_callback(lambda done: self._forget_lookup(digest, done))
        # One caller that gives up must not fail the others who wait for the same answer.
        return await asyncio.shield(lookup)

    async def _look_up(self, key_id: str, digest: bytes) -> _Known:
        version, asked = self._version, self._now()
        stored = await self._source.fetch_key(key_id)
        known = _NOBODY
        if (
            stored is not None
            and hmac.compare_digest(stored.key_hash, digest)
            and stored.remaining_seconds > 0
        ):
            methods = access.methods_of(stored.principal)
            known = _Known(stored.principal, methods, asked + stored.remaining_seconds)
        if version == self._version:
            self._remember(digest, known)
        return known

    def _remember(self, digest: bytes, known: _Known) -> None:
        self._remembered[digest] = known
        self._remembered.move_to_end(digest)
        while len(self._remembered) > REMEMBERED_COUNT_MAX:
            self._remembered.popitem(last=False)

    def _forget_lookup(self, digest: bytes, done: asyncio.Task[_Known]) -> None:
        if self._lookups.get(digest) is done:
            del self._lookups[digest]
