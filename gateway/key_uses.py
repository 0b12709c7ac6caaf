"""When keys were last used: gathered in memory, written in one statement for all of them."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from chassis.errors import translate
from gateway.auth import KeyAuthenticator
from gateway.key_store import KeyStore

FLUSH_SECONDS: Final = 20.0

log = structlog.get_logger()


class KeyUses:
    """Writes what the authenticator saw. What cannot be written is lost: it is only for people."""

    def __init__(self, authenticator: KeyAuthenticator, store: KeyStore) -> None:
        self._authenticator = authenticator
        self._store = store

    async def flush(self) -> None:
        """Writes the uses that nobody has written yet."""
        used, self._authenticator.used = self._authenticator.used, set()
        if not used:
            return
        try:
            await self._store.record_key_uses(used)
        except Exception as error:  # noqa: BLE001 - no call depends on it
            log.warning("key_uses_lost", key_count=len(used), reason=translate(error).reason)

    async def run(self, *, interval_seconds: float = FLUSH_SECONDS) -> None:
        """Flushes until cancelled."""
        while True:
            await asyncio.sleep(interval_seconds)
            await self.flush()
