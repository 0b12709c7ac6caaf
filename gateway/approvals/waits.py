"""Waits for people: one look into the database for all who wait at this gateway."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from typing import Final

import structlog

from chassis.errors import NotFound, Overloaded, translate
from gateway.approvals.store import fetch_approval, fetch_approvals
from gateway.domain.approvals import Approval, State
from gateway.store import Store

# The poll behind the notifications.
POLL_SECONDS: Final = 1.0
# Who waits at one gateway at once; a bound, not a target.
WAITER_COUNT_MAX: Final = 10_000
# Requests that are looked at together.
_BATCH: Final = 1_000

log = structlog.get_logger()


class Waits:
    """Tells whoever waits for a decision as soon as it was made, at whichever gateway."""

    def __init__(self, store: Store) -> None:
        self._store = store
        # Set by whoever hears that something was decided: the next look is due at once.
        self.woken = asyncio.Event()
        self._waiting: dict[str, set[asyncio.Future[Approval]]] = defaultdict(set)
        self._count = 0

    async def follow(
        self, approval_id: str, *, org: str, requester: str
    ) -> AsyncGenerator[Approval]:
        """Yields one's own request as it is, then as it ended. Raises NotFound, Overloaded."""
        if self._count >= WAITER_COUNT_MAX:
            raise Overloaded
        # Before the first look: what is decided after it is told to this one.
        told: asyncio.Future[Approval] = asyncio.get_running_loop().create_future()
        self._waiting[approval_id].add(told)
        self._count += 1
        try:
            found = await fetch_approval(self._store, approval_id)
            if found is None or (found.org, found.requester) != (org, requester):
                raise NotFound("approval", approval_id)
            yield found
            if found.state is State.PENDING:
                yield await told
        finally:
            self._count -= 1
            self._waiting[approval_id].discard(told)
            if not self._waiting[approval_id]:
                del self._waiting[approval_id]

    async def run(self) -> None:
        """Looks until cancelled; costs nothing while nobody waits."""
        failing = False
        while True:
            self.woken.clear()
            try:
                await self._look()
                failing = False
            except Exception as error:  # noqa: BLE001 - the next look tells the same
                if not failing:
                    log.warning("approvals_not_read", reason=translate(error).reason)
                failing = True
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self.woken.wait()

    async def _look(self) -> None:
        wanted = list(self._waiting)
        for start in range(0, len(wanted), _BATCH):
            self._tell(await fetch_approvals(self._store, wanted[start : start + _BATCH]))

    def _tell(self, found: Sequence[Approval]) -> None:
        for approval in found:
            if approval.state is State.PENDING:
                continue
            for told in self._waiting.get(approval.approval_id, ()):
                if not told.done():
                    told.set_result(approval)
