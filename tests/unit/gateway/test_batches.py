"""Batched methods of a peer: one answer each, a second try, and a deadline for all of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import grpc
import pytest
from grpc.aio import AioRpcError, Metadata

from chassis.errors import (
    DeadlineTooShort,
    Draining,
    Internal,
    InvalidArgument,
    PeerUnavailable,
    ServiceError,
)
from gateway.batches import (
    ATTEMPT_SECONDS_MAX,
    DEFAULT_SECONDS,
    MARGIN_SECONDS,
    RETRY_SECONDS_MAX,
    BatchedMethod,
)
from gateway.peers import call, call_once

Answer = Callable[[Sequence[int]], Any]


def failure(code: grpc.StatusCode) -> AioRpcError:
    return AioRpcError(code, Metadata(), Metadata(), details="gone")


class Peer:
    """Answers each attempt by the next of its answers, the last one for ever."""

    def __init__(self, *answers: Answer | BaseException) -> None:
        self._answers = list(answers)
        self.attempts: list[tuple[list[int], float, bool]] = []
        self.asked = asyncio.Event()
        self.gate: asyncio.Event | None = None

    async def __call__(self, items: Sequence[int], timeout: float, wait: bool) -> Sequence[str]:
        self.attempts.append((list(items), timeout, wait))
        self.asked.set()
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if self.gate is not None:
            await self.gate.wait()
        if isinstance(answer, BaseException):
            raise answer
        results: Sequence[str] = answer(items)
        return results


def double(items: Sequence[int]) -> Sequence[str]:
    return [str(2 * item) for item in items]


def method(peer: Peer) -> BatchedMethod[int, str]:
    return BatchedMethod(peer="admission", send=peer)


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_members_under_way_at_once_share_an_rpc_and_keep_their_answers() -> None:
    peer = Peer(double)
    batched = method(peer)

    answers = await asyncio.gather(*(batched.submit(item, deadline=None) for item in range(5)))

    assert answers == ["0", "2", "4", "6", "8"]
    assert [items for items, _, _ in peer.attempts] == [[0, 1, 2, 3, 4]]


async def test_a_batch_lives_as_long_as_its_longest_member() -> None:
    peer = Peer(double)
    batched = method(peer)

    await asyncio.gather(
        batched.submit(1, deadline=now() + 0.5), batched.submit(2, deadline=now() + 1.5)
    )

    ((_, timeout, wait),) = peer.attempts
    assert 0.5 < timeout <= 1.5 - MARGIN_SECONDS
    assert not wait


@pytest.mark.parametrize("seconds", [None, 60.0])
async def test_a_replica_that_hangs_does_not_get_all_the_time_there_is(
    seconds: float | None,
) -> None:
    peer = Peer(failure(grpc.StatusCode.DEADLINE_EXCEEDED), double)
    deadline = None if seconds is None else now() + seconds

    assert await method(peer).submit(1, deadline=deadline) == "2"
    assert [timeout for _, timeout, _ in peer.attempts] == [ATTEMPT_SECONDS_MAX, RETRY_SECONDS_MAX]


async def test_a_peer_that_was_away_is_asked_once_more_with_the_same_members() -> None:
    peer = Peer(failure(grpc.StatusCode.UNAVAILABLE), double)

    assert await method(peer).submit(4, deadline=now() + 3) == "8"
    assert [(items, wait) for items, _, wait in peer.attempts] == [([4], False), ([4], True)]
    assert peer.attempts[1][1] <= RETRY_SECONDS_MAX


async def test_a_peer_that_stays_away_is_named() -> None:
    peer = Peer(failure(grpc.StatusCode.UNAVAILABLE))

    with pytest.raises(PeerUnavailable) as refused:
        await method(peer).submit(4, deadline=now() + 3)
    assert refused.value.metadata == {"peer": "admission"}
    assert len(peer.attempts) == 2


async def test_other_failures_are_not_repeated() -> None:
    peer = Peer(failure(grpc.StatusCode.RESOURCE_EXHAUSTED))

    with pytest.raises(PeerUnavailable):
        await method(peer).submit(4, deadline=now() + 3)
    assert len(peer.attempts) == 1


async def test_without_time_for_it_there_is_no_second_try() -> None:
    peer = Peer(failure(grpc.StatusCode.UNAVAILABLE))

    with pytest.raises(PeerUnavailable):
        await method(peer).submit(4, deadline=now() + MARGIN_SECONDS + 0.009)
    assert len(peer.attempts) == 1


async def test_a_member_past_its_deadline_is_not_sent() -> None:
    peer = Peer(double)
    batched = method(peer)

    with pytest.raises(DeadlineTooShort):
        await batched.submit(1, deadline=now())
    alone, other = await asyncio.gather(
        batched.submit_all([1], deadline=now()), batched.submit_all([2], deadline=None)
    )

    assert isinstance(alone[0], DeadlineTooShort)
    assert other == ["4"]
    assert [items for items, _, _ in peer.attempts] == [[2]]


async def test_a_failure_reaches_every_member() -> None:
    peer = Peer(failure(grpc.StatusCode.INTERNAL))

    answers = await method(peer).submit_all([1, 2], deadline=None)

    assert [type(answer) for answer in answers] == [Internal, Internal]


async def test_a_bug_of_ours_is_internal() -> None:
    peer = Peer(KeyError("oops"))

    with pytest.raises(Internal):
        await method(peer).submit(1, deadline=None)


async def test_a_cancelled_member_leaves_its_batch_alone() -> None:
    peer = Peer(double)
    peer.gate = asyncio.Event()
    batched = method(peer)
    members = [asyncio.create_task(batched.submit(item, deadline=None)) for item in (1, 2)]
    await peer.asked.wait()
    members[0].cancel()
    peer.gate.set()

    answers = await asyncio.gather(*members, return_exceptions=True)

    assert isinstance(answers[0], asyncio.CancelledError)
    assert answers[1] == "4"


async def test_members_of_a_cancelled_batch_are_cancelled() -> None:
    with pytest.raises(asyncio.CancelledError):
        await method(Peer(asyncio.CancelledError())).submit_all([1], deadline=None)


async def test_a_closed_method_takes_nobody() -> None:
    batched = method(Peer(double))
    await batched.close()

    with pytest.raises(Draining):
        await batched.submit(1, deadline=None)
    assert all(isinstance(answer, Draining) for answer in await all_or_error(batched, [1, 2]))


async def all_or_error(
    batched: BatchedMethod[int, str], items: Sequence[int]
) -> list[str | ServiceError]:
    try:
        return await batched.submit_all(items, deadline=None)
    except ServiceError as error:
        return [error]


async def test_a_plain_method_gets_the_default_deadline_and_a_second_try() -> None:
    timeouts: list[tuple[float, bool]] = []

    async def plain(request: str, *, timeout: float, wait_for_ready: bool) -> str:
        timeouts.append((timeout, wait_for_ready))
        if len(timeouts) == 1:
            raise failure(grpc.StatusCode.UNAVAILABLE)
        return request.upper()

    assert await call("health", plain, "kill") == "KILL"
    assert [wait for _, wait in timeouts] == [False, True]
    assert DEFAULT_SECONDS - 1 < timeouts[0][0] <= DEFAULT_SECONDS


async def test_what_must_not_be_repeated_waits_for_a_connection_and_goes_once() -> None:
    asked: list[bool] = []

    async def plain(request: str, *, timeout: float, wait_for_ready: bool) -> str:
        asked.append(wait_for_ready)
        raise failure(grpc.StatusCode.UNAVAILABLE)

    with pytest.raises(PeerUnavailable):
        await call_once("health", plain, "resume")
    assert asked == [True]


async def test_what_a_peer_refuses_is_said_as_it_said_it() -> None:
    refusal = InvalidArgument([])

    async def plain(request: str, **options: object) -> str:
        raise refusal

    with pytest.raises(InvalidArgument) as refused:
        await call("health", plain, "kill")
    assert refused.value is refusal
