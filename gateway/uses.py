"""When keys and sessions were last used: gathered in memory, written in one statement for all."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from chassis.errors import translate
from gateway.auth import KeyAuthenticator
from gateway.key_store import KeyStore
from gateway.staff.store import StaffStore

FLUSH_SECONDS: Final = 20.0

log = structlog.get_logger()


class Uses:
    """Writes what the authenticator saw. What is lost makes a session end early at worst."""

    def __init__(self, authenticator: KeyAuthenticator, keys: KeyStore, staff: StaffStore) -> None:
        self._authenticator = authenticator
        self._keys = keys
        self._staff = staff

    async def flush(self) -> None:
        """Writes the uses that nobody has written yet."""
        used, self._authenticator.used = self._authenticator.used, set()
        if not used:
            return
        try:
            await self._keys.record_key_uses([each for each in used if isinstance(each, str)])
            sessions = [each for each in used if isinstance(each, bytes)]
            if sessions:
                await self._staff.record_session_uses(sessions)
        except Exception as error:  # noqa: BLE001 - no call depends on it
            log.warning("uses_lost", count=len(used), reason=translate(error).reason)

    async def run(self, *, interval_seconds: float = FLUSH_SECONDS) -> None:
        """Flushes until cancelled."""
        while True:
            await asyncio.sleep(interval_seconds)
            await self.flush()
