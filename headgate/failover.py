"""One candidate after the other, until one answers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from headgate.attempt import Attempt
from headgate.decisions import Candidate, DenialReason
from headgate.errors import AllCandidatesFailed, Denied, NotServed, RpcError

if TYPE_CHECKING:
    from types import TracebackType

A = TypeVar("A", bound=Attempt)
T = TypeVar("T")

# The contract lets a call exclude so many.
EXCLUDED_COUNT_MAX: Final = 4


async def run(first: A, body: Callable[[A], Awaitable[T]]) -> T:
    """Returns what the first body that succeeds returns; see `Call.run`."""
    search = Search(first)
    while True:
        attempt = search.attempt
        try:
            async with entered(attempt):
                if attempt.denial is None:
                    return await body(attempt)
        except Exception as error:  # noqa: BLE001 - raised again unless another one may survive it
            search.note(error)
        search.go_on()


async def stream(first: A, body: Callable[[A], AsyncIterator[T]]) -> AsyncGenerator[T, None]:
    """Yields what the first body that yields anything yields; see `Call.stream`."""
    search = Search(first)
    begun = False
    while True:
        attempt = search.attempt
        try:
            async with entered(attempt):
                if attempt.denial is None:
                    async with aclosing(_closable(body(attempt))) as items:
                        async for item in items:
                            begun = True
                            yield item
                    return
        except Exception as error:
            # What has been shown can't be taken back.
            if begun:
                raise
            search.note(error)
        search.go_on()


class Search(Generic[A]):
    """Knows what has been tried, and what comes next."""

    def __init__(self, first: A) -> None:
        self.attempt = first
        self._first = first
        self._failures: list[Exception] = []
        self._failed: tuple[Candidate, ...] = ()
        self._fallback_text = ""

    def note(self, error: Exception) -> None:
        """Notes how the attempt failed. Raises the error if no other candidate may survive it."""
        attempt = self.attempt
        # Where nobody decides, nobody knows another candidate.
        if attempt.admitted and not attempt.governed:
            raise error
        unanswered = self._failures and not attempt.admitted and isinstance(error, RpcError)
        if not attempt.survivable and not unanswered:
            raise error
        self._failures.append(error)
        if attempt.admitted:
            self._failed += (attempt.candidate,)

    def pass_over(self) -> None:
        """Notes that the attempt's candidate can't be asked; nothing was sent to it."""
        self._failed += (self.attempt.candidate,)

    def go_on(self) -> None:
        """Makes the next attempt.

        Raises Denied or AllCandidatesFailed if there is none, NotServed if none can be asked.
        """
        denial = self.attempt.denial
        if denial is not None and denial.cause is not None and self._failures:
            self._failures.append(denial.cause)
        self._fallback_text = self.attempt.fallback_text or self._fallback_text
        if denial is not None and not self._failures:
            if self._failed and denial.reason is DenialReason.NO_CANDIDATE:
                raise NotServed(fallback_text=self._fallback_text)
            raise Denied(denial) from denial.cause
        exhausted = len(self._first.excluded) + len(self._failed) > EXCLUDED_COUNT_MAX
        if exhausted and not self._failures:
            raise NotServed(fallback_text=self._fallback_text)
        if not self.attempt.admitted or exhausted:
            raise AllCandidatesFailed(
                self._failures, fallback_text=self._fallback_text, denial=denial
            ) from self._failures[-1]
        self.attempt = self._first.follow(self._failed)


def _closable(items: AsyncIterator[T]) -> AsyncGenerator[T, Any]:
    """Returns the iterator as something that can be closed, as generators can by themselves."""
    if hasattr(items, "aclose"):
        return items  # type: ignore[return-value] # it is all that `aclosing` asks for

    async def generate() -> AsyncGenerator[T, None]:
        async for item in items:
            yield item

    return generate()


class entered:  # noqa: N801 - is used like `contextlib.closing`
    """Enters an attempt and leaves it, as a context of its own."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt

    async def __aenter__(self) -> None:
        await self._attempt.enter()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._attempt.leave(error)
