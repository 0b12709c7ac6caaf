from __future__ import annotations

import asyncio

import pytest

from headgate.deadlines import STEP_SECONDS, Deadlines


async def test_a_wait_ends_at_its_deadline_and_not_before() -> None:
    loop = asyncio.get_running_loop()
    deadlines = Deadlines(loop)
    futures: list[asyncio.Future[None]] = [loop.create_future() for _ in range(3)]
    start = loop.time()
    for number, future in enumerate(futures):
        deadlines.add(future, start + 0.03 * (number + 1))
    for number, future in enumerate(futures):
        with pytest.raises(TimeoutError):
            await future
        assert loop.time() >= start + 0.03 * (number + 1) - STEP_SECONDS / 10


async def test_waits_that_end_together_share_a_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    deadlines = Deadlines(loop)
    timers: list[float] = []
    monkeypatch.setattr(loop, "call_at", lambda when, *_: timers.append(when))
    # The middle of a step, away from its ends.
    deadline = (loop.time() // STEP_SECONDS + 100.5) * STEP_SECONDS
    for _ in range(100):
        deadlines.add(loop.create_future(), deadline)

    assert len(timers) == 1
    assert timers[0] >= deadline


async def test_an_answer_that_came_or_is_forgotten_is_left_alone() -> None:
    loop = asyncio.get_running_loop()
    deadlines = Deadlines(loop)
    answered: asyncio.Future[int] = loop.create_future()
    forgotten: asyncio.Future[int] = loop.create_future()
    last: asyncio.Future[int] = loop.create_future()
    deadline = loop.time()
    deadlines.add(answered, deadline)
    deadlines.discard(forgotten, deadlines.add(forgotten, deadline))
    deadlines.add(last, deadline + 2 * STEP_SECONDS)
    answered.set_result(1)
    with pytest.raises(TimeoutError):
        await last
    deadlines.discard(last, 0)

    assert (answered.result(), forgotten.done()) == (1, False)
