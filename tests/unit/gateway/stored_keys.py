"""Keys in memory, for the tests of those who read them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping

from chassis.errors import StoreUnavailable
from gateway import keys
from gateway.auth import KeyAuthenticator, StoredKey, StoredSession
from gateway.principals import Principal, Role, grant_all

# Fixed, because it stands in the names of tests.
MADE = keys.NewKey(key_id="k_made", secret="hg_k_made_" + "M" * 43)


class Keys:
    """Keys in a dict, with a version and an outage."""

    def __init__(self) -> None:
        self.stored: dict[str, StoredKey] = {}
        self.sessions: dict[bytes, StoredSession] = {}
        self.sessions_looked_up = 0
        self.version = 1
        self.looked_up: list[str] = []
        self.is_down = False
        self.gate: asyncio.Event | None = None

    def put(
        self, made: keys.NewKey, *, role: Role = Role.BACKEND, remaining_seconds: float = math.inf
    ) -> None:
        orgs = ("acme",) if role is Role.BACKEND else ()
        self.stored[made.key_id] = StoredKey(
            principal=Principal(actor=made.key_id, grants=grant_all(role, orgs)),
            key_hash=keys.hash_key(made.secret),
            remaining_seconds=remaining_seconds,
        )
        self.version += 1

    def open_gate(self) -> None:
        assert self.gate is not None
        self.gate.set()

    async def fetch_key(self, key_id: str) -> StoredKey | None:
        self.looked_up.append(key_id)
        found = self.stored.get(key_id)
        if self.gate is not None:
            await self.gate.wait()
        if self.is_down:
            raise StoreUnavailable
        return found

    async def fetch_session(self, token_hash: bytes) -> StoredSession | None:
        self.sessions_looked_up += 1
        return self.sessions.get(token_hash)

    async def fetch_key_version(self) -> int:
        if self.is_down:
            raise StoreUnavailable
        return self.version


class Setup:
    def __init__(self) -> None:
        self.keys = Keys()
        self.now = 100.0
        self.authenticate = KeyAuthenticator(self.keys, self.keys, now=lambda: self.now)


def shown(made: keys.NewKey) -> Mapping[str, str]:
    return {"authorization": f"Bearer {made.secret}"}
