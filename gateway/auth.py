"""Who is calling, by API key or session, from a memory that costs no round trip."""

from __future__ import annotations

import asyncio
import datetime as dt
import hmac
import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from chassis import clock
from chassis.errors import Unauthenticated
from chassis.looking import keep_looking
from chassis.server import Authenticator
from gateway import access, keys, tokens
from gateway.principals import NOBODY, Principal

# The poll behind the notifications: how late a changed key binds when they are lost.
POLL_SECONDS: Final = 0.25
# What is remembered counts for so long after the last poll: a revoked key passes no longer.
FRESH_SECONDS: Final = 0.9
# Keys remembered, unknown ones included: a guesser must not fill the memory.
REMEMBERED_COUNT_MAX: Final = 4_096

# How a session's token begins.
SESSION_PREFIX: Final = "hgs_"

_MISSING: Final = "send `authorization: Bearer <API key>`"
_UNKNOWN: Final = "the API key or session is unknown, expired or revoked"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredKey:
    """A key as it is stored."""

    principal: Principal
    key_hash: bytes
    # Seconds for which it is valid yet, by the database's clock: infinite without an expiry, not
    # positive once it is expired or revoked.
    remaining_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSession:
    """A session of staff, as it is stored."""

    principal: Principal
    # When it ends however much it is used.
    expire_time: dt.datetime
    # Seconds for which it goes on unused, by the database's clock; not positive once it ended.
    remaining_seconds: float


class SessionSource(Protocol):
    """Where sessions are stored."""

    async def fetch_session(self, token_hash: bytes) -> StoredSession | None:
        """Returns a session by its token's digest."""


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
    # What is noted when it is used: a key's public part, or the digest of a session's token.
    mark: str | bytes


_UNKNOWN_ONE: Final = _Known(None, frozenset(), math.inf, "")


def let_public_in(authenticator: KeyAuthenticator) -> Authenticator:
    """Returns an authenticator that asks for nothing where `access` says so."""

    async def authenticate(metadata: Mapping[str, str], method: str) -> Principal:
        if method in access.PUBLIC_METHODS:
            return NOBODY
        return await authenticator(metadata, method)

    return authenticate


class KeyAuthenticator:
    """Authenticates by API key or session, from a memory that a poll of their version keeps true.

    A revoked or expired one is refused at most `FRESH_SECONDS` after that committed, whatever is
    down. Without a fresh poll every key is looked up, and if the database does not answer nobody
    gets in.
    """

    def __init__(
        self,
        source: KeySource,
        sessions: SessionSource,
        *,
        now: clock.Clock = clock.monotonic,
    ) -> None:
        self._source = source
        self._sessions = sessions
        self._now = now
        # Set by whoever hears that something changed: the next poll is due at once.
        self.woken = asyncio.Event()
        # Marks of what was used since somebody last took them.
        self.used: set[str | bytes] = set()
        # By the whole key's SHA-256, so that no secret stays in memory.
        self._remembered: OrderedDict[bytes, _Known] = OrderedDict()
        self._lookups: dict[bytes, asyncio.Task[_Known]] = {}
        self._version = 0
        self._fresh_until = self._now()

    async def __call__(self, metadata: Mapping[str, str], method: str) -> Principal:
        """Returns who calls, and notes the use. Raises Unauthenticated or PermissionDenied."""
        known, principal = await self._admit(metadata, method)
        self.used.add(known.mark)
        return principal

    async def look_again(self, metadata: Mapping[str, str], method: str) -> Principal:
        """Returns who still calls, in a stream: it keeps no session alive. Raises as above."""
        return (await self._admit(metadata, method))[1]

    async def _admit(self, metadata: Mapping[str, str], method: str) -> tuple[_Known, Principal]:
        header = metadata.get("authorization", "")
        if header[:7].lower() != "bearer ":
            raise Unauthenticated(_MISSING)
        known = await self._identify(header[7:])
        principal = known.principal
        if principal is None:
            raise Unauthenticated(_UNKNOWN)
        if method not in known.methods:
            raise access.refuse(principal, method)
        return known, principal

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
        await keep_looking(
            self.refresh,
            pause=lambda: interval_seconds,
            failed="keys_not_refreshed",
            woken=self.woken,
        )

    async def _identify(self, key: str) -> _Known:
        digest = keys.hash_key(key)
        known = self._remembered.get(digest)
        if known is not None and self._fresh_until > self._now() < known.until:
            # Guesses push out what nobody uses, never a key in use.
            self._remembered.move_to_end(digest)
            return known
        is_session = tokens.is_whole(key, SESSION_PREFIX)
        key_id = None if is_session else keys.parse_key_id(key)
        if key_id is None and not is_session:
            return _UNKNOWN_ONE
        lookup = self._lookups.get(digest)
        if lookup is None:
            lookup = asyncio.create_task(self._look_up(key_id, digest))
            self._lookups[digest] = lookup
            lookup.add_done_callback(lambda done: self._forget_lookup(digest, done))
        # One caller that gives up must not fail the others who wait for the same answer.
        return await asyncio.shield(lookup)

    async def _look_up(self, key_id: str | None, digest: bytes) -> _Known:
        version, asked = self._version, self._now()
        stored: StoredKey | StoredSession | None
        if key_id is None:
            stored = await self._sessions.fetch_session(digest)
        else:
            stored = await self._fetch_key(key_id, digest)
        known = _UNKNOWN_ONE
        if stored is not None and stored.remaining_seconds > 0:
            who, until = stored.principal, asked + stored.remaining_seconds
            known = _Known(who, access.methods_of(who), until, key_id or digest)
        if version == self._version:
            self._remember(digest, known)
        return known

    async def _fetch_key(self, key_id: str, digest: bytes) -> StoredKey | None:
        stored = await self._source.fetch_key(key_id)
        if stored is None or not hmac.compare_digest(stored.key_hash, digest):
            return None
        return stored

    def _remember(self, digest: bytes, known: _Known) -> None:
        self._remembered[digest] = known
        self._remembered.move_to_end(digest)
        while len(self._remembered) > REMEMBERED_COUNT_MAX:
            self._remembered.popitem(last=False)

    def _forget_lookup(self, digest: bytes, done: asyncio.Task[_Known]) -> None:
        if self._lookups.get(digest) is done:
            del self._lookups[digest]
