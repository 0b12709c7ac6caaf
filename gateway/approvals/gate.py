"""Where calls that need a person's leave are let through, or not."""

from __future__ import annotations

from chassis.errors import translate
from gateway import denials
from gateway.approvals.store import add_approval_attempt, fetch_approval
from gateway.asks import Ask
from gateway.decisions import Denied
from gateway.domain.approvals import (
    Approval,
    Flaw,
    Need,
    find_flaw,
    find_need,
    is_attempt,
    is_covered,
)
from gateway.domain.calls import Call, Candidate
from gateway.domain.toggles import AUTO_APPROVAL, is_off
from gateway.health_watch import HealthCopy
from gateway.store import Store
from headgate.api.admission.v1 import admission_pb2


class Gate:
    """Decides by rules alone whether a call needs a leave. Only a leave that is shown costs a look
    into the database, which knows at once what was decided, at whichever gateway.
    """

    def __init__(self, store: Store, copy: HealthCopy) -> None:
        self._store = store
        self._copy = copy

    def find_need(self, ask: Ask) -> Need | None:
        """Returns why a call needs a person. None: it does not."""
        call, route = ask.call, ask.route
        toggle = self._copy.toggles.get(AUTO_APPROVAL)
        return find_need(
            route,
            is_automatic=not is_off(toggle, org=call.org, operation=call.operation),
            cost_nanos_max=cost_nanos_max(ask) if route.approval_threshold_nanos else 0,
        )

    async def check(self, ask: Ask) -> Denied | None:
        """Lets a call pass, or says why not. Takes away the candidates that its leave does not
        cover. Raises ServiceError.
        """
        if ask.call.approval_id:
            return await self._check_leave(ask)
        need = self.find_need(ask)
        return None if need is None else Denied(denial=denials.approval_required(ask.call, need))

    async def was_given(self, call: Call) -> bool:
        """Tells whether a call that was admitted has a leave, whatever its time. Raises
        ServiceError.
        """
        if not call.approval_id:
            return False
        found = await self._fetch(call.approval_id)
        return found is not None and find_flaw(found, call) in (None, Flaw.EXPIRED)

    async def _check_leave(self, ask: Ask) -> Denied | None:
        call = ask.call
        found = await self._fetch(call.approval_id)
        flaw = find_flaw(found, call)
        if found is None or flaw is not None:
            return _refuse(ask, flaw or Flaw.UNKNOWN)
        covered = [each for each in ask.request.candidates if _covers(found, each)]
        if not covered:
            return _refuse(ask, Flaw.NOT_COVERED)
        if is_attempt(found, call) and not await self._note(found, call):
            return _refuse(ask, Flaw.OTHER_CALL)
        if len(covered) < len(ask.request.candidates):
            kept = admission_pb2.ReservationRequest(candidates=covered).candidates
            del ask.request.candidates[:]
            ask.request.candidates.extend(kept)
        ask.approved = True
        return None

    async def _fetch(self, approval_id: str) -> Approval | None:
        try:
            return await fetch_approval(self._store, approval_id)
        except Exception as error:
            raise translate(error) from error

    async def _note(self, approval: Approval, call: Call) -> bool:
        try:
            return await add_approval_attempt(
                self._store,
                approval.approval_id,
                call.call_id,
                excluded_count=len(call.excluded_candidates),
            )
        except Exception as error:
            raise translate(error) from error


def cost_nanos_max(ask: Ask) -> int:
    """Returns the most that a call can cost on any candidate that it could go to."""
    return max(each.cost_nanos for each in ask.request.candidates)


def _covers(approval: Approval, hold: admission_pb2.CandidateHold) -> bool:
    candidate = Candidate(provider=hold.candidate.provider, model=hold.candidate.model)
    return is_covered(approval, candidate, hold.cost_nanos)


def _refuse(ask: Ask, flaw: Flaw) -> Denied:
    return Denied(denial=denials.approval_refused(ask.call, flaw))
