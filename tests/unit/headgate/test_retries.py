from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta

import pytest

import headgate
from headgate import retries


class Waits:
    """Stands for asyncio and its loop: a clock that jumps instead of sleeping."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []

    def get_running_loop(self) -> Waits:
        return self

    def time(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Waits]:
    waits = Waits()
    with monkeypatch.context() as patched:
        patched.setattr(retries, "asyncio", waits)
        yield waits


def unavailable(delay: float | None = None) -> headgate.Unavailable:
    wait = None if delay is None else timedelta(seconds=delay)
    return headgate.Unavailable("gone", code="UNAVAILABLE", retry_delay=wait)


class Attempts:
    def __init__(self, *errors: headgate.RpcError) -> None:
        self.errors = list(errors)
        self.count = 0

    async def __call__(self) -> str:
        self.count += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


async def test_waits_grow_are_spread_and_bounded(clock: Waits) -> None:
    attempt = Attempts(*(unavailable() for _ in range(10)))

    assert await retries.repeat(attempt, deadline=100) == "done"
    bounds = [min(retries.DELAY_SECONDS_MIN * 2**n, retries.DELAY_SECONDS_MAX) for n in range(10)]
    assert len(clock.waits) == 10
    for wait, bound in zip(clock.waits, bounds, strict=True):
        assert bound / 2 <= wait <= bound


async def test_an_overloaded_gateway_is_left_alone_for_as_long_as_it_asks(clock: Waits) -> None:
    overloaded = headgate.Overloaded(
        "busy", code="RESOURCE_EXHAUSTED", retry_delay=timedelta(seconds=2)
    )

    assert await retries.repeat(Attempts(overloaded), deadline=100) == "done"
    assert 2 < clock.waits[0] <= 2 + retries.DELAY_SECONDS_MIN


async def test_nobody_waits_beyond_the_deadline(clock: Waits) -> None:
    attempt = Attempts(unavailable(delay=5))

    with pytest.raises(headgate.Unavailable):
        await retries.repeat(attempt, deadline=5)
    assert (attempt.count, clock.waits) == (1, [])


async def test_the_last_attempts_error_is_raised(clock: Waits) -> None:
    errors = [unavailable() for _ in range(1_000)]

    with pytest.raises(headgate.Unavailable) as caught:
        await retries.repeat(Attempts(*errors), deadline=1)
    assert caught.value is errors[len(clock.waits)]
    assert clock.now < 1


@pytest.mark.parametrize(
    "error",
    [
        headgate.InternalError("bug", code="INTERNAL"),
        headgate.DeadlineExceeded("slow", code="DEADLINE_EXCEEDED"),
        headgate.InvalidArgument("wrong", code="INVALID_ARGUMENT"),
    ],
)
async def test_what_repeating_cannot_mend_is_raised_at_once(
    clock: Waits, error: headgate.RpcError
) -> None:
    attempt = Attempts(error)

    with pytest.raises(type(error)):
        await retries.repeat(attempt, deadline=100)
    assert attempt.count == 1


async def test_a_wait_can_be_cancelled() -> None:
    started = asyncio.Event()

    async def attempt() -> str:
        started.set()
        raise unavailable(delay=1_000)

    deadline = asyncio.get_running_loop().time() + 10_000
    task = asyncio.create_task(retries.repeat(attempt, deadline=deadline))
    await started.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
