"""Entries of the audit log whose outcome was lost: finds it out, and writes it down.

A gateway that is killed between a change and its outcome leaves the entry open. Every gateway
looks for such entries; the first outcome stands.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from typing import Final

import structlog

from chassis.errors import translate
from gateway.audit_store import AuditStore, OpenEntry
from gateway.store import Store
from headgate.api.common.v1 import change_pb2, change_pb2_grpc

INTERVAL_SECONDS: Final = 60.0
# A change that a service has stored is done; its gateway had the time to say so itself.
DONE_AFTER_SECONDS: Final = 120.0
# A change that none has stored by then is none any more: no caller waits for so long.
LOST_AFTER_SECONDS: Final = 3_600.0
NEVER_STORED: Final = "NEVER_STORED: the answer was lost, and no service stored a change for it"
OUTCOME_UNKNOWN: Final = "OUTCOME_UNKNOWN: the answer was lost, and no log says if it was done"
# Services store each of these with its audit id in the transaction that does it, whatever was
# there before. Of others that changed nothing, or in several transactions, there may be no trace.
ALWAYS_STORED: Final = frozenset(
    {
        "AdjustUsage",
        "DeleteAlertMute",
        "DeleteChannel",
        "DeleteLimit",
        "DeletePrice",
        "Kill",
        "PutChannel",
        "PutLimit",
        "PutPrice",
        "ReplayDeliveries",
        "Resume",
        "RotateChannelSecret",
        "SetBreaker",
        "TestChannel",
    }
)
_TIMEOUT_SECONDS: Final = 10.0

log = structlog.get_logger()


def conclude(
    opened: Iterable[OpenEntry], old: Iterable[OpenEntry], stored: Collection[str]
) -> dict[str, str | None]:
    """Returns by entry what its error was; None: it was done."""
    outcomes: dict[str, str | None] = {
        entry.audit_id: None for entry in opened if entry.audit_id in stored
    }
    for entry in old:
        if entry.audit_id not in stored:
            error = NEVER_STORED if entry.action in ALWAYS_STORED else OUTCOME_UNKNOWN
            outcomes[entry.audit_id] = error
    return outcomes


class OpenEntries:
    """Closes entries by what the services have stored."""

    def __init__(
        self, store: Store, services: Sequence[change_pb2_grpc.ChangeServiceAsyncStub]
    ) -> None:
        self._store = store
        self._audit = AuditStore(store)
        self._services = services

    async def close(self) -> int:
        """Closes what can be closed, and returns how much. Raises if a service does not answer:
        what it has stored is not known then.
        """
        opened = await self._audit.list_open_entries(after_seconds=DONE_AFTER_SECONDS)
        if not opened:
            return 0
        stored = await self._find([entry.audit_id for entry in opened])
        old = await self._audit.list_open_entries(after_seconds=LOST_AFTER_SECONDS)
        outcomes = conclude(opened, old, stored)
        for audit_id, error in outcomes.items():
            await self._store.insert_audit_outcome(audit_id, error=error)
        return len(outcomes)

    async def run(self, *, interval_seconds: float = INTERVAL_SECONDS) -> None:
        """Closes entries until cancelled."""
        while True:
            await asyncio.sleep(interval_seconds)
            try:
                count = await self.close()
            except Exception as error:  # noqa: BLE001 - somebody is away: next time
                log.warning("audit_entries_open", reason=translate(error).reason)
                continue
            if count:
                log.warning("audit_entries_closed", count=count)

    async def _find(self, audit_ids: Sequence[str]) -> set[str]:
        request = change_pb2.FindChangesRequest(audit_ids=audit_ids)
        answers = [
            await service.FindChanges(request, timeout=_TIMEOUT_SECONDS)
            for service in self._services
        ]
        return {change.audit_id for answer in answers for change in answer.changes}
