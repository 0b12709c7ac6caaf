"""One attempt at an AI call: what both of its faces, asynchronous and blocking, have in common."""

from __future__ import annotations

import asyncio
import enum
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeVar

from headgate import questions, tracing
from headgate.api.gateway.v1 import gateway_pb2
from headgate.classify import ERROR_TYPE_LENGTH_MAX, Verdict, classify
from headgate.decisions import Admission, CallOutcome, Candidate, Denial, FinishedCall, Receipt
from headgate.desk import Desk, make_id
from headgate.endings import Ending, Request
from headgate.errors import CallMisused, Denied, Finished
from headgate.meters import Meters
from headgate.outlooks import Extension
from headgate.plan import Plan
from headgate.wire import render_duration, render_outcome

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")

# How long a cancelled caller is kept waiting for its report; then the report goes on alone.
CANCELLED_WAIT_SECONDS_MAX: Final = 1.0

# The contract's bound.
_LATENCY_SECONDS_MAX: Final = 86_400
_SURVIVABLE: Final = frozenset({CallOutcome.PROVIDER_FAILED, CallOutcome.THROTTLED})


class _State(enum.Enum):
    NEW = enum.auto()
    OPEN = enum.auto()
    ENDED = enum.auto()


class Attempt:
    """An attempt at one AI call; entered once.

    Leaving it reports how the attempt ended and waits until that is durable, unless the client
    reports in the background. A report that can't be delivered does not raise, because the
    provider's answer is worth more: it is logged, `completion_error` holds it, the client counts
    it, and the hold is charged when it expires.
    """

    def __init__(self, plan: Plan, desk: Desk) -> None:
        self._plan = plan
        self._desk = desk
        self._state = _State.NEW
        self._meters = Meters()
        self._released = False
        self._failure: Verdict | None = None
        self._start_seconds = 0.0
        self._end_seconds: float | None = None
        self._verdict: Verdict | None = None
        self._ending: Ending | None = None
        self._span: tracing.CallSpan | None = None
        # What was admitted. None: not yet, or denied.
        self.admission: Admission | None = None
        # Why not, with on_denied="return".
        self.denial: Denial | None = None
        # The provider's tier of service that the call is billed in. Empty: the standard one.
        self.service_tier = ""
        # Set it if a person approved the call before it was made: the sums tell how many were.
        self.approved = False

    @property
    def receipt(self) -> Receipt | None:
        """What was booked. None: nothing yet, or released, or unknown."""
        return self._ending.receipt if self._ending else None

    @property
    def completion_error(self) -> Exception | None:
        """Why the end of the call could not be reported."""
        return self._ending.error if self._ending else None

    @property
    def governed(self) -> bool:
        """False if nobody decided and the client let the call through: nothing is held."""
        return self._admission().governed

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

    async def prolong(self, seconds: float | None) -> Extension:
        """Keeps the hold alive; both faces' `extend` does this."""
        self._require_open("extend")
        admission = self._admission()
        if not admission.governed:
            return Extension(expire_time=None, finished=None, stop=False, stop_message="")
        return await questions.extend(
            self._desk.connect(),
            permit=admission.permit,
            seconds=seconds,
            timeout=self._plan.timeout_seconds,
        )

    def follow(self, failed: tuple[Candidate, ...]) -> Self:
        """Returns an attempt that replaces this and later failed ones; `run` uses it.

        Its denial is not raised, but is an answer to look at.
        """
        plan = replace(
            self._plan,
            call_id=make_id(),
            fresh_id=True,
            parent_call_id=self._plan.parent_call_id or self.call_id,
            excluded=self._plan.excluded + failed,
            raises_denied=False,
            wait_seconds=0.0,
        )
        return type(self)(plan, self._desk)

    async def enter(self) -> None:
        """Returns when the call may go; both faces do this first."""
        if self._state is not _State.NEW:
            raise CallMisused("a call can be entered once; make another one")
        request = self._plan.to_request()
        self._state = _State.ENDED
        self._span = tracing.start_span(self._plan)
        try:
            decision = await self._desk.decide(self._plan, request, self._span)
            if isinstance(decision, FinishedCall):
                raise Finished(decision)
            if isinstance(decision, Denial):
                self.denial = decision
                if self._plan.raises_denied:
                    raise Denied(decision) from decision.cause
        except BaseException as error:
            self._end_span(type(error).__name__)
            raise
        if isinstance(decision, Denial):
            self._end_span(decision.reason.value)
            return
        self.admission = decision
        self._state = _State.OPEN
        self._start_seconds = time.monotonic()
        if self._span is not None:
            self._span.enter(decision)

    async def leave(self, error: BaseException | None) -> None:
        """Ends the call, as the exception tells that ended its block; both faces do this last."""
        if self._state is not _State.OPEN:
            return
        self._state = _State.ENDED
        self._verdict = verdict = self._failure or classify(error)
        if self._span is not None:
            self._span.leave(error_type=verdict.error_type, counts=self._meters.counts)
        self._ending = ending = Ending(
            call_id=self.call_id,
            operation=self._plan.operation,
            request=self._describe_end(verdict),
            span=self._span,
        )
        delivery = self._desk.end(ending)
        if delivery is None or isinstance(error, GeneratorExit) or self._desk.has_room(ending):
            # A coroutine that is being closed must not wait for anything.
            return
        gone = error is not None and not isinstance(error, Exception)
        # Waiting, unlike awaiting, leaves the delivery alone when the waiter is cancelled.
        await asyncio.wait({delivery}, timeout=CANCELLED_WAIT_SECONDS_MAX if gone else None)

    def _describe_end(self, verdict: Verdict) -> Request:
        admission = self._admission()
        if (self._released or verdict.never_left) and not self._meters:
            if admission.governed:
                return gateway_pb2.ReleaseCallRequest(permit=admission.permit)
            return gateway_pb2.ReleaseCallRequest(org=self._plan.org, call_id=self.call_id)
        seconds = (self._end_seconds or time.monotonic()) - self._start_seconds
        request = gateway_pb2.CompleteCallRequest(
            permit=admission.permit,
            outcome=render_outcome(verdict.outcome),
            meters=self._meters.to_message(),
            latency=render_duration(min(seconds, _LATENCY_SECONDS_MAX)),
            error_type=verdict.error_type,
            service_tier=self.service_tier,
            approved=self.approved,
            unanswered=verdict.unanswered,
            retry_delay=render_duration(verdict.retry_delay_seconds),
        )
        if not admission.governed:
            # If the hold was made and only its answer was lost, this settles it.
            request.org, request.call_id = self._plan.org, self.call_id
        return request

    def _end_span(self, error_type: str) -> None:
        if self._span is not None:
            self._span.end(error_type)

    def _admission(self) -> Admission:
        if self.admission is None:
            raise CallMisused("the call has not been admitted")
        return self.admission

    def _require_open(self, verb: str) -> None:
        if self._state is not _State.OPEN:
            raise CallMisused(f"can't {verb} a call that is not open")
