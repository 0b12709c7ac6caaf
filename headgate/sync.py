"""The blocking face of the client, for programs without an event loop.

It runs the asynchronous client on a background loop: the same batches, repeats and promises, and
calls of many threads share RPCs.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from headgate import failover, feedback, portals
from headgate.attempt import Attempt
from headgate.client import Client, Session
from headgate.incidents import IncidentKind
from headgate.options import CallerOptions, CallOptions, ClientOptions

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator
    from types import TracebackType

    from typing_extensions import Unpack

    from headgate.approvals import Approval, PendingApproval
    from headgate.decisions import Status
    from headgate.desk import Desk
    from headgate.outlooks import Estimate, Extension, LimitsState

T = TypeVar("T")

_END: Final = object()


class SyncCall(Attempt):
    """An attempt at one AI call; enter it with `with`, once. See `headgate.Call`."""

    def run(self, body: Callable[[SyncCall], T]) -> T:
        """Returns `body(call)`, called in this thread with one candidate after the other.

        See `Call.run`.
        """

        async def ask(call: SyncCall) -> T:
            return await portals.here(body, call)

        return _run(self._desk, lambda: failover.run(self, ask))

    def stream(self, body: Callable[[SyncCall], Iterator[T]]) -> Generator[T, None, None]:
        """Yields what `body(call)` yields; see `Call.stream`."""

        async def items(call: SyncCall) -> AsyncIterator[T]:
            iterator = iter(await portals.here(body, call))
            try:
                while (item := await portals.here(next, iterator, _END)) is not _END:
                    yield item
            finally:
                if hasattr(iterator, "close"):
                    await portals.here(iterator.close)

        yield from _iterate(self._desk, failover.stream(self, items))

    def extend(self, seconds: float | None = None) -> Extension:
        """Keeps the hold of a call that takes long alive; see `Call.extend`."""
        return _run(self._desk, partial(self.prolong, seconds))

    def feedback(self, metric: str, score: float) -> None:
        """Says how good the call was, from 0 to 1, the best; see `Call.feedback`."""
        admission = self._admission()
        _run(self._desk, lambda: feedback.rate(self._desk, admission, metric, score))

    def __enter__(self) -> SyncCall:
        try:
            _run(self._desk, self.enter)
        except BaseException as error:
            # Interrupted on the way back: it was admitted, and nobody else can end it.
            if self.admitted:
                self.release()
                _run(self._desk, partial(self.leave, error))
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> Literal[False]:
        _run(self._desk, partial(self.leave, error))
        return False


class SyncSession:
    """Calls of one caller; see `headgate.Session`."""

    def __init__(self, session: Session) -> None:
        # The same calls for who awaits; the background loop's alone.
        self.session: Final = session

    def call(self, operation: str, **options: Unpack[CallOptions]) -> SyncCall:
        """Returns a call to enter with `with`; nothing is asked before that."""
        return SyncCall(self.session.plan(operation, options), self.session.desk)

    def run(
        self, operation: str, body: Callable[[SyncCall], T], **options: Unpack[CallOptions]
    ) -> T:
        """Returns `body(call)`, tried with one candidate after the other: see `Call.run`."""
        return self.call(operation, **options).run(body)

    def estimate(self, operation: str, **options: Unpack[CallOptions]) -> Estimate:
        """Returns what a call would hold; see `Session.estimate`."""
        return _run(self.session.desk, partial(self.session.estimate, operation, **options))

    def watch_limits(
        self, operation: str, **options: Unpack[CallOptions]
    ) -> Generator[LimitsState, None, None]:
        """Yields the limits that apply to a call; see `Session.watch_limits`."""
        states = self.session.watch_limits(operation, **options)
        yield from _iterate(self.session.desk, states)

    def extend_call(
        self, call_id: str, *, org: str = "", seconds: float | None = None
    ) -> Extension:
        """Prolongs the hold of a running call; see `Session.extend_call`."""
        ask = partial(self.session.extend_call, call_id, org=org, seconds=seconds)
        return _run(self.session.desk, ask)

    def request_approval(
        self,
        operation: str,
        *,
        summary: str,
        lifetime_seconds: float | None = None,
        **options: Unpack[CallOptions],
    ) -> SyncPendingApproval | None:
        """Asks people for leave to make a call; see `Session.request_approval`."""
        ask = partial(
            self.session.request_approval,
            operation,
            summary=summary,
            lifetime_seconds=lifetime_seconds,
            **options,
        )
        pending = _run(self.session.desk, ask)
        return None if pending is None else SyncPendingApproval(pending, self.session.desk)

    def await_approval(
        self, approval_id: str, *, org: str = "", timeout_seconds: float | None = None
    ) -> Approval:
        """Returns a request when it was decided; see `Session.await_approval`."""
        wait = partial(
            self.session.await_approval, approval_id, org=org, timeout_seconds=timeout_seconds
        )
        return _run(self.session.desk, wait)

    def for_user(self, user: str, **terms: Unpack[CallerOptions]) -> SyncSession:
        """Returns a session whose calls are this user's, on these terms unless they say else."""
        return SyncSession(self.session.for_user(user, **terms))


class SyncPendingApproval:
    """A call that waits for a person; see `headgate.PendingApproval`."""

    def __init__(self, pending: PendingApproval, desk: Desk) -> None:
        # The request as it was last seen.
        self.approval = pending.approval
        self._pending = pending
        self._desk = desk

    def call(self) -> SyncCall:
        """Returns the call that the leave is for, to enter as any other; denied without leave."""
        return SyncCall(self._pending.plan, self._desk)

    def wait(self, timeout_seconds: float | None = None) -> Approval:
        """Returns the request when it was decided; see `PendingApproval.wait`."""
        self.approval = _run(self._desk, partial(self._pending.wait, timeout_seconds))
        return self.approval

    def on_decided(self, callback: Callable[[Approval], object]) -> None:
        """Calls back, in the background loop's thread, when it was decided or expired."""

        async def tell() -> None:
            callback(await self._pending.wait())

        portals.shared().start(tell, closer=self._desk.disconnect)


class SyncClient(SyncSession):
    """Asks Headgate before AI calls and reports after them, for programs without an event loop.

    May be used by any number of threads, and made before a fork. Takes what `headgate.Client`
    takes. What is under way when the process ends is delivered first, for a bounded time.
    """

    def __init__(self, target: str = "", **options: Unpack[ClientOptions]) -> None:
        self._client = Client(target, **options)
        super().__init__(self._client)

    @property
    def incidents(self) -> Mapping[IncidentKind, int]:
        """How many incidents of each kind there were."""
        return self._client.incidents

    def status(self) -> Status:
        """Returns whether calls pass, as one gateway knows it. Raises RpcError."""
        return _run(self._client.desk, self._client.status)

    def feedback(self, call_id: str, metric: str, score: float, *, org: str = "") -> None:
        """Says how good a booked call was, from 0 to 1; see `Client.feedback`."""
        client = self._client
        _run(client.desk, lambda: client.feedback(call_id, metric, score, org=org))

    def close(self) -> None:
        """Takes no more calls and returns when reports under way have ended; see `Client`."""
        _run(self._client.desk, self._client.close)
        portals.shared().forget(self._client.desk.disconnect)

    def __enter__(self) -> SyncClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _run(desk: Desk, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    return portals.shared().run(make, closer=desk.disconnect)


def _iterate(desk: Desk, stream: AsyncGenerator[T, None]) -> Generator[T, None, None]:
    async def step() -> T | object:
        return await anext(stream, _END)

    try:
        while (item := _run(desk, step)) is not _END:
            yield item  # type: ignore[misc] # it is a T: the end is ruled out
    finally:
        _run(desk, stream.aclose)
