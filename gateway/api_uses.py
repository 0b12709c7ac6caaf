"""How the API itself is used: RPCs of staff by day, method and caller. Calls of backends are the
books' matter and pass by here.
"""

from __future__ import annotations

import asyncio
from typing import Final

import grpc
import structlog

from chassis.errors import translate
from gateway.api_use_store import (
    ApiUse,
    Count,
    add_api_uses,
    list_api_uses,
    prune_api_uses,
)
from gateway.principals import Principal
from gateway.store import Store

FLUSH_SECONDS: Final = 5.0
KEPT_DAYS: Final = 90
# Rows of one flush, and rows that are removed with it.
KEY_COUNT_MAX: Final = 2_000
PRUNE_COUNT_MAX: Final = 5_000
ROW_COUNT_MAX: Final = 1_000
# Who was not let in, and who came when there was no more room.
NOBODY: Final = ""
OTHERS: Final = "others"
# Not the caller's fault.
_FAILURES: Final = frozenset(
    {
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.DATA_LOSS,
    }
)

log = structlog.get_logger()


class ApiUses:
    """Counts in memory and adds to the gateways' table every few seconds; a gateway that dies
    loses these seconds.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._counts: dict[tuple[str, str], Count] = {}

    def observe(self, principal: object | None, method: str, code: grpc.StatusCode, /) -> None:
        """Counts one RPC."""
        actor = principal.actor if isinstance(principal, Principal) else NOBODY
        name = method.rpartition("/")[2]
        if (name, actor) not in self._counts and len(self._counts) >= KEY_COUNT_MAX:
            actor = OTHERS
        count = self._counts.setdefault((name, actor), Count())
        count.total += 1
        if code in _FAILURES:
            count.failed += 1
        elif code is not grpc.StatusCode.OK:
            count.refused += 1

    async def flush(self) -> None:
        """Adds what was counted since the last time to the table; forgets old days."""
        counts, self._counts = self._counts, {}
        if not counts:
            return
        # In one order on every gateway, so that two never wait for each other.
        ordered = [
            ApiUse(method=method, actor=actor, count=count)
            for (method, actor), count in sorted(counts.items(), key=lambda item: item[0])
        ]
        try:
            await add_api_uses(self._store, ordered)
            await prune_api_uses(self._store, kept_days=KEPT_DAYS, count_max=PRUNE_COUNT_MAX)
        except Exception as error:  # noqa: BLE001 - no RPC depends on it
            log.warning("api_uses_lost", count=len(counts), reason=translate(error).reason)

    async def run(self, *, interval_seconds: float = FLUSH_SECONDS) -> None:
        """Flushes until cancelled."""
        while True:
            await asyncio.sleep(interval_seconds)
            await self.flush()

    async def list(self, *, days: int, method: str, actor: str | None) -> list[ApiUse]:
        """Returns how the API was used on the last so many days, the most used first; one row more
        than ROW_COUNT_MAX if there are more. Empty method, no actor: all.
        """
        return await list_api_uses(
            self._store, days=days, method=method, actor=actor, count_max=ROW_COUNT_MAX + 1
        )
