"""Methods of peers that take many members: calls under way at once share one RPC."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import grpc

from chassis.errors import DeadlineTooShort, ServiceError, translate
from headgate.batching import Batcher

Item = TypeVar("Item")
Result = TypeVar("Result")

# Kept back from an inbound deadline, so that the answer reaches the caller in time.
MARGIN_SECONDS: Final = 0.005
# For work that nobody's deadline bounds.
DEFAULT_SECONDS: Final = 5.0
# A batch that a replica has not answered by then is sent to the next one: whoever gathers behind
# a replica that hangs must not wait for the longest deadline.
ATTEMPT_SECONDS_MAX: Final = 2.0
# A peer that restarts is back within this; longer waits are the caller's to choose.
RETRY_SECONDS_MAX: Final = 1.0
# Less is not worth a second attempt.
RETRY_SECONDS_MIN: Final = 0.01
# An RPC costs as much as ten of its members: batches of 64 callers grow by a third.
TURN_COUNT: Final = 16

# What a second attempt may mend: a peer that is away, or one that hangs.
_REPEATED: Final = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})

# Calls a peer with its members, a timeout in seconds, and whether to wait for a connection.
Send = Callable[[Sequence[Item], float, bool], Awaitable[Sequence[Result]]]


@dataclass(slots=True)
class _Member(Generic[Item]):
    item: Item
    # Loop time.
    deadline: float


class BatchedMethod(Generic[Item, Result]):
    """One method of one peer, micro-batched, in arrival order.

    A peer that does not answer is asked once more with the same members, so a member may be
    decided twice: only methods that are safe to repeat belong here. A batch lives as long as its
    longest member.
    """

    def __init__(self, *, peer: str, send: Send[Item, Result], flight_count_max: int = 1) -> None:
        self._peer = peer
        self._send = send
        self._batcher: Batcher[_Member[Item], Result] = Batcher(
            self._send_members, flight_count_max=flight_count_max, turn_count=TURN_COUNT
        )

    async def submit(self, item: Item, *, deadline: float | None) -> Result:
        """Returns the member's result. Raises ServiceError."""
        at = _last_moment(deadline)
        try:
            return await self._batcher.submit(_Member(item, at), deadline=at)
        except TimeoutError:
            raise DeadlineTooShort from None
        except Exception as error:
            raise translate(error, peer=self._peer) from error

    async def submit_all(
        self, items: Sequence[Item], *, deadline: float | None
    ) -> list[Result | ServiceError]:
        """Returns each member's result or failure, in order."""
        at = _last_moment(deadline)
        try:
            members = [_Member(item, at) for item in items]
            answers = await self._batcher.submit_all(members, deadline=at)
        except Exception as error:
            raise translate(error, peer=self._peer) from error
        return [self._read(answer) for answer in answers]

    async def close(self) -> None:
        """Refuses new members and returns when earlier ones have their answers."""
        await self._batcher.close()

    def _read(self, answer: Result | BaseException) -> Result | ServiceError:
        if not isinstance(answer, BaseException):
            return answer
        if isinstance(answer, TimeoutError):
            return DeadlineTooShort()
        if isinstance(answer, Exception):
            return translate(answer, peer=self._peer)
        raise answer

    async def _send_members(self, members: Sequence[_Member[Item]]) -> Sequence[Result]:
        last = max(member.deadline for member in members)
        items = [member.item for member in members]
        return await attempt_twice(
            lambda timeout, wait: self._send(items, timeout, wait),
            peer=self._peer,
            deadline=last,
            first_seconds_max=ATTEMPT_SECONDS_MAX,
        )


async def attempt_twice(
    attempt: Callable[[float, bool], Awaitable[Result]],
    *,
    peer: str,
    deadline: float,
    first_seconds_max: float = math.inf,
) -> Result:
    """Calls a peer, and once more if it did not answer and time remains until `deadline` (loop
    time).

    `attempt` gets a timeout in seconds and whether to wait for a connection. Raises ServiceError.
    """
    now = asyncio.get_running_loop().time
    try:
        return await attempt(min(max(deadline - now(), 0.0), first_seconds_max), False)
    except grpc.aio.AioRpcError as error:
        remaining = min(deadline - now(), RETRY_SECONDS_MAX)
        if error.code() not in _REPEATED or remaining < RETRY_SECONDS_MIN:
            raise translate(error, peer=peer) from error
    try:
        return await attempt(remaining, True)
    except grpc.aio.AioRpcError as error:
        raise translate(error, peer=peer) from error


def _last_moment(deadline: float | None) -> float:
    if deadline is None:
        return asyncio.get_running_loop().time() + DEFAULT_SECONDS
    return deadline - MARGIN_SECONDS
