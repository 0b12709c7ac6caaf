"""Waits for people: one look into the database for all who wait at this gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Final

from chassis.errors import NotFound
from chassis.looking import keep_looking
from gateway.approvals.store import fetch_approval, fetch_approvals
from gateway.domain.approvals import Approval, State
from gateway.store import Store
from gateway.waiters import Waiters

# The poll behind the notifications.
POLL_SECONDS: Final = 1.0
# Requests that are looked at together.
_BATCH: Final = 1_000


class Waits:
    """Tells whoever waits for a decision as soon as it was made, at whichever gateway."""

    def __init__(self, store: Store) -> None:
        self._store = store
        # Set by whoever hears that something was decided: the next look is due at once.
        self.woken = asyncio.Event()
        self._waiters: Waiters[str, Approval] = Waiters()

    async def follow(
        self, approval_id: str, *, org: str, requester: str
    ) -> AsyncGenerator[Approval]:
        """Yields one's own request as it is, then as it ended. Raises NotFound, Overloaded."""
        # Before the first look: what is decided after it is told to this one.
        with self._waiters.waiting(approval_id) as told:
            found = await fetch_approval(self._store, approval_id)
            if found is None or (found.org, found.requester) != (org, requester):
                raise NotFound("approval", approval_id)
            yield found
            if found.state is State.PENDING:
                yield await told

    async def run(self) -> None:
        """Looks until cancelled; costs nothing while nobody waits."""
        await keep_looking(
            self._look,
            pause=lambda: POLL_SECONDS,
            failed="approvals_not_read",
            woken=self.woken,
        )

    async def _look(self) -> None:
        wanted = self._waiters.keys()
        for start in range(0, len(wanted), _BATCH):
            for approval in await fetch_approvals(self._store, wanted[start : start + _BATCH]):
                if approval.state is not State.PENDING:
                    self._waiters.tell(approval.approval_id, approval)
