"""Tells accounting of requests and decisions, which makes events of them for channels."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Final

from chassis.looking import keep_looking
from gateway.approvals.store import list_untold_approvals, note_told_approval
from gateway.batches import DEFAULT_SECONDS
from gateway.domain.approvals import Approval
from gateway.peers import Accounting
from gateway.store import Store
from headgate.api.accounting.v1 import alerts_pb2

# How often every gateway looks for what is to be told.
POLL_SECONDS: Final = 1.0
REQUESTED: Final = "approval.requested"
DECIDED: Final = "approval.decided"


class Telling:
    """Tells of each request and of each decision at least once, each under one id of its own, so
    that it is one event, whichever gateways tell of it.
    """

    def __init__(self, store: Store, accounting: Accounting) -> None:
        self._store = store
        self._stub = accounting.alerts
        # Set by whoever hears that something was decided: the next look is due at once.
        self.woken = asyncio.Event()

    async def run(self) -> None:
        """Tells until cancelled; what could not be told stays, and the next look tells it."""
        await keep_looking(
            self.tell,
            pause=lambda: POLL_SECONDS,
            failed="approvals_not_told",
            woken=self.woken,
        )

    async def tell(self) -> None:
        """Tells what is to be told, oldest first."""
        for each in await list_untold_approvals(self._store):
            approval = each.approval
            if each.request_due:
                await self._send(approval, REQUESTED, _describe_request(approval))
            if each.decision_due:
                await self._send(approval, DECIDED, _describe_decision(approval))
            await note_told_approval(
                self._store,
                approval.approval_id,
                request=each.request_due,
                decision=each.decision_due,
            )

    async def _send(self, approval: Approval, kind: str, facts: dict[str, str | int]) -> None:
        said = "asks for leave" if kind == REQUESTED else f"was {facts['state']}"
        request = alerts_pb2.RecordEventRequest(
            event_id=str(uuid.uuid5(uuid.UUID(approval.approval_id), kind)),
            type=kind,
            org=approval.org,
            subject=f"approval/{approval.approval_id}",
            title=f"A call of {approval.operation} for {approval.org} {said}.",
            data_json=json.dumps(facts),
        )
        await self._stub.RecordEvent(request, timeout=DEFAULT_SECONDS)


def _describe(approval: Approval) -> dict[str, str | int]:
    return {
        "approval_id": approval.approval_id,
        "call_id": approval.call_id,
        "operation": approval.operation,
        "summary": approval.summary,
        "cost_nanos_max": approval.cost_nanos_max,
        "requester": approval.requester,
    }


def _describe_request(approval: Approval) -> dict[str, str | int]:
    return _describe(approval) | {"expire_time": approval.expire_time.isoformat()}


def _describe_decision(approval: Approval) -> dict[str, str | int]:
    state = approval.state.name.lower()
    decided = {"state": state, "decider": approval.decider, "reason": approval.reason}
    return _describe(approval) | decided
