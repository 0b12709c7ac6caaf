"""One AI call: admitted before it, reported after it, on every way out."""

from __future__ import annotations

import asyncio
import enum
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from types import TracebackType
from typing import Final, Literal, TypeVar

from headgate import failover
from headgate.api.gateway.v1 import gateway_pb2
from headgate.classify import ERROR_TYPE_LENGTH_MAX, Verdict, classify
from headgate.connection import Connection, start_ending
from headgate.decisions import (
    Admission,
    CallOutcome,
    Candidate,
    Decision,
    Denial,
    FinishedCall,
    Receipt,
)
from headgate.errors import (
    CallMisused,
    Denied,
    Finished,
    IdReused,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unauthenticated,
)
from headgate.meters import Meters
from headgate.plan import Plan
from headgate.wire import render_duration, render_outcome

T = TypeVar("T")

# How long a cancelled caller is kept waiting for its report; then the report goes on alone.
CANCELLED_WAIT_SECONDS_MAX: Final = 1.0

# The contract's bound.
_LATENCY_SECONDS_MAX: Final = 86_400
# Answers that say for sure that nothing was held.
_DEFINITE: Final = (InvalidArgument, Unauthenticated, PermissionDenied, NotFound, IdReused)
_SURVIVABLE: Final = frozenset({CallOutcome.PROVIDER_FAILED, CallOutcome.THROTTLED})

_log = logging.getLogger("headgate")


class _State(enum.Enum):
    NEW = enum.auto()
    OPEN = enum.auto()
    ENDED = enum.auto()


class Call:
    """An attempt at one AI call; enter it with `async with`, once.

    Leaving the block reports how the attempt ended and waits until that is durable. A report that
    can't be delivered does not raise, because the provider's answer is worth more: it is logged,
    `completion_error` holds it, and the hold is charged when it expires.
    """

    def __init__(
        self, plan: Plan, *, connect: Callable[[], Connection], make_id: Callable[[], str]
    ) -> None:
        self._plan = plan
        self._connect = connect
        self._make_id = make_id
        self._state = _State.NEW
        self._meters = Meters()
        self._released = False
        self._failure: Verdict | None = None
        self._start_seconds = 0.0
        self._end_seconds: float | None = None
        self._verdict: Verdict | None = None
        # What was admitted. None: not yet, or denied.
        self.admission: Admission | None = None
        # Why not, with on_denied="return".
        self.denial: Denial | None = None
        # What was booked. None: nothing yet, or released, or unknown.
        self.receipt: Receipt | None = None
        # Why the end of the call could not be reported.
        self.completion_error: Exception | None = None

    @property
    def call_id(self) -> str:
        """Identifies this attempt."""
        return self._plan.call_id

    @property
    def excluded(self) -> tuple[Candidate, ...]:
        """Candidates that must not be chosen."""
        return self._plan.excluded

    @property
    def admitted(self) -> bool:
        """True if the call may go."""
        return self.admission is not None

    @property
    def candidate(self) -> Candidate:
        """Where the call must go."""
        return self._admission().candidate

    @property
    def provider(self) -> str:
        """Name of the provider where the call must go."""
        return self._admission().candidate.provider

    @property
    def model(self) -> str:
        """The provider's name of the model that the call must use."""
        return self._admission().candidate.model

    @property
    def max_output_tokens(self) -> int:
        """Bound of the output that must be passed to the provider."""
        return self._admission().max_output_tokens

    @property
    def fallback_text(self) -> str:
        """Text that may be shown instead of an answer. Empty if the route has none."""
        decision = self.admission or self.denial
        return decision.fallback_text if decision else ""

    @property
    def survivable(self) -> bool:
        """True if the attempt failed in a way that another candidate may survive."""
        return self._verdict is not None and self._verdict.survivable

    def report(
        self,
        *,
        input_tokens: int | None = None,
        cache_read_tokens: int | None = None,
        cache_write_5m_tokens: int | None = None,
        cache_write_1h_tokens: int | None = None,
        output_tokens: int | None = None,
        reasoning_tokens: int | None = None,
    ) -> None:
        """Notes what the call has used so far; the last word on each meter counts.

        Meters are disjoint: input tokens without those of the caches, output tokens without
        reasoning. None leaves a meter as it is. Call it as often as the provider tells more.
        Raises ValueError if a meter is negative or no integer.
        """
        self.report_meters(
            input_token_count=input_tokens,
            cache_read_token_count=cache_read_tokens,
            cache_write_5m_token_count=cache_write_5m_tokens,
            cache_write_1h_token_count=cache_write_1h_tokens,
            output_token_count=output_tokens,
            reasoning_token_count=reasoning_tokens,
        )

    def report_meters(self, **counts: int | None) -> None:
        """Notes meters by the contract's names, as `headgate.usage` gives them; see `report`."""
        self._require_open("report")
        if self._released:
            raise CallMisused("the call was released: it can't have used anything")
        self._meters.note(**counts)
        self._end_seconds = time.monotonic()

    def fail(self, outcome: CallOutcome, *, error_type: str = "") -> None:
        """Says how the call ended, whatever is raised or not raised afterwards."""
        self._require_open("fail")
        self._failure = Verdict(
            outcome=outcome,
            survivable=outcome in _SURVIVABLE,
            error_type=error_type[:ERROR_TYPE_LENGTH_MAX],
        )

    def release(self) -> None:
        """Says that nothing was sent to the provider: leaving the block returns the hold."""
        self._require_open("release")
        if self._meters:
            raise CallMisused("the call has reported usage: it can't be released")
        self._released = True

    async def run(self, body: Callable[[Call], Awaitable[T]]) -> T:
        """Returns `await body(call)`, tried with one candidate after the other.

        Use it instead of `async with`. A candidate that fails in a way that another may survive
        is reported as failed, and the next one is asked for, under an id and a hold of its own.
        Raises Denied if the first attempt is denied, AllCandidatesFailed when none is left or none
        can be asked for, and at once what no other candidate would survive.
        """
        return await failover.run(self, body)

    def follow(self, failed: tuple[Candidate, ...]) -> Call:
        """Returns an attempt that replaces this and later failed ones; `run` uses it.

        Its denial is not raised, but is an answer to look at.
        """
        plan = replace(
            self._plan,
            call_id=self._make_id(),
            fresh_id=True,
            parent_call_id=self._plan.parent_call_id or self.call_id,
            excluded=self._plan.excluded + failed,
            raises_denied=False,
        )
        return Call(plan, connect=self._connect, make_id=self._make_id)

    async def __aenter__(self) -> Call:
        if self._state is not _State.NEW:
            raise CallMisused("a call can be entered once; make another one")
        request = self._plan.to_request()
        self._connection = self._connect()
        self._state = _State.ENDED
        decision = await self._ask(request)
        if isinstance(decision, FinishedCall):
            raise Finished(decision)
        if isinstance(decision, Denial):
            self.denial = decision
            if self._plan.raises_denied:
                raise Denied(decision)
            return self
        self.admission = decision
        self._state = _State.OPEN
        self._start_seconds = time.monotonic()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> Literal[False]:
        if self._state is not _State.OPEN:
            return False
        self._state = _State.ENDED
        self._verdict = verdict = self._failure or classify(error)
        never_left = self._released or verdict.never_left
        work = self._release() if never_left and not self._meters else self._complete(verdict)
        ending = start_ending(self._connection, work)
        if ending is None or isinstance(error, GeneratorExit):
            # A coroutine that is being closed must not wait for anything.
            return False
        gone = error is not None and not isinstance(error, Exception)
        # Waiting, unlike awaiting, leaves the ending alone when the waiter is cancelled.
        await asyncio.wait({ending}, timeout=CANCELLED_WAIT_SECONDS_MAX if gone else None)
        return False

    async def _ask(self, request: gateway_pb2.AdmitCallRequest) -> Decision:
        deadline = asyncio.get_running_loop().time() + self._plan.timeout_seconds
        try:
            return await self._connection.admit(request, deadline=deadline)
        except _DEFINITE:
            raise
        except BaseException:
            # Nobody saw the answer, so the call never left. An id that came from the caller may
            # be in use elsewhere: it is left to its expiry.
            if self._plan.fresh_id:
                start_ending(self._connection, self._release())
            raise

    async def _release(self) -> None:
        request = gateway_pb2.ReleaseCallRequest(org=self._plan.org, call_id=self.call_id)
        if self.admission is not None:
            request = gateway_pb2.ReleaseCallRequest(permit=self.admission.permit)
        try:
            await self._connection.release(request)
        except Exception as error:  # noqa: BLE001 - the hold expires by itself; logged
            self._note_lost(error)

    async def _complete(self, verdict: Verdict) -> None:
        seconds = (self._end_seconds or time.monotonic()) - self._start_seconds
        request = gateway_pb2.CompleteCallRequest(
            permit=self._admission().permit,
            outcome=render_outcome(verdict.outcome),
            meters=self._meters.to_message(),
            latency=render_duration(min(seconds, _LATENCY_SECONDS_MAX)),
            error_type=verdict.error_type,
            retry_delay=render_duration(verdict.retry_delay_seconds),
        )
        try:
            self.receipt = await self._connection.complete(request)
        except Exception as error:  # noqa: BLE001 - must not cost the caller the answer; logged
            self._note_lost(error)

    def _note_lost(self, error: Exception) -> None:
        self.completion_error = error
        _log.warning("call %s: its end is not booked: %s", self.call_id, error)

    def _admission(self) -> Admission:
        if self.admission is None:
            raise CallMisused("the call has not been admitted")
        return self.admission

    def _require_open(self, verb: str) -> None:
        if self._state is not _State.OPEN:
            raise CallMisused(f"can't {verb} a call that is not open")
