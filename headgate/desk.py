"""What the calls of one client share: its connection, its policies, its ends under way."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING, Final

from headgate import portals, questions
from headgate.api.gateway.v1 import gateway_pb2
from headgate.config import Mode
from headgate.connection import Connection
from headgate.decisions import Admission, Candidate, Decision, Denial, DenialReason, RetryKind
from headgate.endings import Ending
from headgate.errors import (
    CallMisused,
    ClientClosed,
    DeadlineExceeded,
    IdReused,
    InvalidArgument,
    NotFound,
    Overloaded,
    PermissionDenied,
    RpcError,
    Unauthenticated,
    Unavailable,
)
from headgate.ids import IdMaker
from headgate.incidents import Incident, IncidentKind, Incidents
from headgate.sayings import Sayings
from headgate.waiting import Watches, wait_for_room

if TYPE_CHECKING:
    import grpc.aio

    from headgate.options import OnUnreachable, Reports
    from headgate.plan import Plan
    from headgate.tracing import CallSpan

# Ends that may be under way in the background; whoever comes then waits for its own.
BACKGROUND_COUNT_MAX: Final = 10_000
# How long a report that nobody waits for may wait for others, to share an RPC with them.
LINGER_SECONDS: Final = 0.02
# Answers that say for sure that nothing was held.
_DEFINITE: Final = (InvalidArgument, Unauthenticated, PermissionDenied, NotFound, IdReused)
# Nobody decided in time.
_UNDECIDED: Final = (Unavailable, DeadlineExceeded, Overloaded)
_NOBODY: Final = "Headgate could not be reached in time"

# One for the process: ids of all its clients grow.
make_id: Final = IdMaker().make


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """How a client behaves."""

    mode: Mode
    reports: Reports
    on_unreachable: OnUnreachable
    report_timeout_seconds: float


class Desk:
    """Asks and reports for the calls of one client; serves one event loop at a time."""

    def __init__(
        self,
        *,
        open_channel: Callable[[], grpc.aio.Channel],
        metadata: tuple[tuple[str, str], ...],
        policies: Policies,
        incidents: Incidents,
    ) -> None:
        self.policies = policies
        self.incidents = incidents
        self._open_channel = open_channel
        self._metadata = metadata
        self._connection: Connection | None = None
        self._closed = False
        self._watches = Watches()
        self._sayings = Sayings()
        # Delivers what an event loop leaves behind, on the background loop.
        self._spare: Desk | None = None

    async def decide(
        self, plan: Plan, request: gateway_pb2.AdmitCallRequest, span: CallSpan | None
    ) -> Decision:
        """Returns the decision on a call; asks again while it may wait for room.

        Raises RpcError, ClientClosed. Whoever is cancelled leaves no hold.
        """
        if self.policies.mode is Mode.OFF:
            return self._let_through(plan)
        until = asyncio.get_running_loop().time() + plan.wait_seconds
        decision = await self._ask(plan, request, span)
        if plan.wait_seconds <= 0 or not isinstance(decision, Denial):
            return decision
        return await wait_for_room(
            decision,
            until=until,
            ask=partial(self._ask, plan, request, span),
            watch=lambda: self._watches.open(questions.watch_limits(self.connect(), request)),
        )

    def end(self, ending: Ending) -> asyncio.Task[None] | None:
        """Starts to deliver the end of a call. None: nothing that its caller could wait for."""
        if self.policies.mode is Mode.OFF:
            return None
        try:
            connection = self._current or self.connect()
        except ClientClosed as error:
            self._lose(ending, error)
            return None
        except (CallMisused, RuntimeError):
            # No event loop runs here, or not the client's: its own one may never run again.
            self._rescue(ending)
            return None
        return connection.own(self._deliver(connection, ending))

    @property
    def _current(self) -> Connection | None:
        """The connection, if it can be used: while it is being closed, too."""
        connection = self._connection
        return None if connection is None or connection.is_foreign() else connection

    def has_room(self, ending: Ending) -> bool:
        """Tells whether an end may be left to the background."""
        if self.policies.reports != "background" or self._connection is None:
            return False
        if self._connection.owned_count <= BACKGROUND_COUNT_MAX:
            return True
        self._note(IncidentKind.REPORTS_FULL, ending)
        return False

    def connect(self) -> Connection:
        """Returns the connection of this process and event loop.

        Raises ClientClosed, CallMisused in another event loop than the client's.
        """
        if self._closed:
            raise ClientClosed("the client is closed")
        connection = self._current
        if connection is None:
            background = self.policies.reports == "background"
            connection = self._connection = Connection(
                self._open_channel,
                metadata=self._metadata,
                report_seconds_max=self.policies.report_timeout_seconds,
                linger_seconds=LINGER_SECONDS if background else 0.0,
            )
        return connection

    async def close(self) -> None:
        """Takes no more calls and returns when ends under way have been delivered."""
        self._closed = True
        await self.disconnect()

    async def disconnect(self) -> None:
        """Returns when ends under way have been delivered; the next call connects again."""
        connection = self._connection
        if connection is not None and connection.process_id == os.getpid():
            await connection.close()
        if self._connection is connection:
            self._connection = None

    async def _ask(
        self, plan: Plan, request: gateway_pb2.AdmitCallRequest, span: CallSpan | None
    ) -> Decision:
        connection = self.connect()
        deadline = connection.loop.time() + plan.timeout_seconds
        try:
            decision = await connection.admit(request, deadline=deadline, span=span)
        except _DEFINITE:
            raise
        except _UNDECIDED as error:
            return self._judge_undecided(plan, error)
        except BaseException:
            self._forget(plan)
            raise
        self._sayings.note(plan, decision)
        return decision

    def _judge_undecided(self, plan: Plan, error: RpcError) -> Decision:
        allowed = self.policies.on_unreachable == "allow"
        if not allowed:
            self._forget(plan)
        if self.policies.on_unreachable == "raise":
            raise error
        kind = IncidentKind.LET_THROUGH if allowed else IncidentKind.UNREACHABLE_DENIED
        self.incidents.note(
            Incident(kind=kind, call_id=plan.call_id, operation=plan.operation, error=error)
        )
        if allowed:
            return self._let_through(plan)
        return Denial(
            reason=DenialReason.UNREACHABLE,
            violations=(),
            retry_delay=error.retry_delay,
            retry_kind=RetryKind.UNKNOWN,
            message=_NOBODY,
            fallback_text=self._sayings.text(plan, error),
            cause=error,
        )

    def _let_through(self, plan: Plan) -> Admission:
        now = datetime.now(timezone.utc)
        return Admission(
            call_id=plan.call_id,
            org=plan.org,
            candidate=plan.default_candidate or Candidate("", ""),
            held_nanos=0,
            max_output_tokens=self._sayings.bound(plan),
            permit=b"",
            admit_time=now,
            expire_time=now,
            replayed=False,
            fallback_text=self._sayings.text(plan),
            governed=False,
        )

    def _forget(self, plan: Plan) -> None:
        """Returns a hold that may have been made: nobody saw the answer, so the call never left.

        An id that came from the caller may be in use elsewhere: it is left to its expiry.
        """
        if plan.fresh_id:
            request = gateway_pb2.ReleaseCallRequest(org=plan.org, call_id=plan.call_id)
            self.end(Ending(call_id=plan.call_id, operation=plan.operation, request=request))

    async def _deliver(self, connection: Connection, ending: Ending) -> None:
        try:
            await ending.send(connection)
        except asyncio.CancelledError:
            # The event loop is ended around us, and nobody has closed the client before.
            self._rescue(ending)
            raise
        except Exception as error:  # noqa: BLE001 - must not cost the caller its answer; noted
            self._lose(ending, error)

    def _rescue(self, ending: Ending) -> None:
        """Leaves an end to the background loop, which the process waits for at its exit."""
        if self._spare is None:
            policies = replace(self.policies, reports="wait")
            self._spare = _SpareDesk(
                open_channel=self._open_channel,
                metadata=self._metadata,
                policies=policies,
                incidents=self.incidents,
            )
        spare = self._spare

        async def deliver() -> None:
            task = spare.end(ending)
            if task is not None:
                await asyncio.wait({task})

        try:
            portals.shared().start(deliver, closer=spare.disconnect)
        except RuntimeError as error:
            self._lose(ending, error)

    def _lose(self, ending: Ending, error: Exception) -> None:
        ending.error = error
        self._note(IncidentKind.REPORT_LOST, ending)

    def _note(self, kind: IncidentKind, ending: Ending) -> None:
        self.incidents.note(
            Incident(
                kind=kind, call_id=ending.call_id, operation=ending.operation, error=ending.error
            )
        )


class _SpareDesk(Desk):
    """Delivers on the background loop. What even that can't deliver is lost."""

    def _rescue(self, ending: Ending) -> None:
        self._lose(ending, ClientClosed("the process ended before the report was delivered"))
