"""One AI call: admitted before it, reported after it, on every way out."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Literal, TypeVar

from headgate import failover, feedback
from headgate.attempt import Attempt
from headgate.outlooks import Extension

T = TypeVar("T")


class Call(Attempt):
    """An attempt at one AI call; enter it with `async with`, once.

    Leaving the block reports how the attempt ended and waits until that is durable, unless the
    client reports in the background. A report that can't be delivered does not raise, because the
    provider's answer is worth more: it is logged, `completion_error` holds it, the client counts
    it, and the hold is charged when it expires.
    """

    async def run(self, body: Callable[[Call], Awaitable[T]]) -> T:
        """Returns `await body(call)`, tried with one candidate after the other.

        Use it instead of `async with`. A candidate that fails in a way that another may survive
        is reported as failed, and the next one is asked for, under an id and a hold of its own.
        Raises Denied if the first attempt is denied, AllCandidatesFailed when none is left or none
        can be asked for, and at once what no other candidate would survive.
        """
        return await failover.run(self, body)

    def stream(self, body: Callable[[Call], AsyncIterator[T]]) -> AsyncGenerator[T, None]:
        """Yields what `body(call)` yields, tried with one candidate after the other; see `run`.

        Once something was yielded, an error is raised as it is.
        """
        return failover.stream(self, body)

    async def feedback(self, metric: str, score: float) -> None:
        """Says how good the call was, from 0 to 1, the best, within its block or after it.

        The last word on each metric counts. Raises RpcError. Later, `Client.feedback` does it by
        the call's id.
        """
        await feedback.rate(self._desk, self._admission(), metric, score)

    async def extend(self, seconds: float | None = None) -> Extension:
        """Keeps the hold of a call that takes long alive for so long from now on.

        None: as long as the operation's calls may take. Tells too whether the call must stop
        because of a kill switch, or has ended elsewhere. Safe to repeat. Raises RpcError.
        """
        return await self.prolong(seconds)

    async def __aenter__(self) -> Call:
        await self.enter()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> Literal[False]:
        await self.leave(error)
        return False
