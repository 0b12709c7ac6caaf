from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from headgate.batching import Batcher, BatcherClosedError
from tests.unit.headgate.flights import Answer, Wire, echo, submit


async def test_an_idle_batcher_sends_at_once() -> None:
    wire = Wire()
    (first,) = submit(Batcher(wire.send), 1)
    await wire.until_sent(1)
    wire.answer(0)

    assert await first == 2
    assert wire.batches == [[1]]


async def test_what_gathers_during_a_flight_leaves_together_and_in_order() -> None:
    wire = Wire()
    batcher = Batcher(wire.send)
    (first,) = submit(batcher, 1)
    await wire.until_sent(1)
    others = submit(batcher, 2, 3, 4)
    await asyncio.sleep(0)
    wire.answer(0)
    await wire.until_sent(2)
    wire.answer(1)

    assert await asyncio.gather(first, *others) == [2, 4, 6, 8]
    assert wire.batches == [[1], [2, 3, 4]]


async def test_no_batch_is_larger_than_the_most() -> None:
    wire = Wire()
    batcher = Batcher(wire.send, size_max=2)
    answers = asyncio.create_task(batcher.submit_all([1, 2, 3, 4, 5]))
    for at in range(3):
        await wire.until_sent(at + 1)
        wire.answer(at)

    assert await answers == [2, 4, 6, 8, 10]
    assert wire.batches == [[1, 2], [3, 4], [5]]


async def test_no_more_batches_fly_at_once_than_allowed() -> None:
    wire = Wire()
    batcher = Batcher(wire.send, size_max=1, flight_count_max=2)
    answers = submit(batcher, 1, 2, 3)
    await wire.until_sent(2)
    await asyncio.sleep(0)
    in_flight = list(wire.batches)
    # The second one returns first, and only its own member has an answer.
    wire.answer(1)
    await wire.until_sent(3)

    assert in_flight == [[1], [2]]
    assert await answers[1] == 4
    assert not answers[0].done()

    wire.answer(0)
    wire.answer(2)
    assert await asyncio.gather(*answers) == [2, 4, 6]


async def test_an_error_of_the_flight_reaches_every_member_and_the_next_batch_flies() -> None:
    wire = Wire()
    batcher = Batcher(wire.send)
    lost = asyncio.create_task(batcher.submit_all([1, 2]))
    await wire.until_sent(1)
    (later,) = submit(batcher, 3)
    await asyncio.sleep(0)
    wire.fail(0, ConnectionError("cut"))
    await wire.until_sent(2)
    wire.answer(1)

    assert [type(answer) for answer in await lost] == [ConnectionError, ConnectionError]
    assert await later == 6


async def test_a_wrong_number_of_results_is_every_members_error() -> None:
    async def send(items: Sequence[int]) -> Sequence[Answer]:
        return [1]

    answers = await Batcher(send).submit_all([1, 2])

    assert [str(answer) for answer in answers] == ["1 results for 2 members"] * 2


async def test_a_cancelled_flight_cancels_its_members() -> None:
    wire = Wire()
    (member,) = submit(Batcher(wire.send), 1)
    await wire.until_sent(1)
    wire.fail(0, asyncio.CancelledError())

    with pytest.raises(asyncio.CancelledError):
        await member


async def test_a_member_cancelled_in_flight_leaves_its_batch_alone() -> None:
    wire = Wire()
    batcher = Batcher(wire.send)
    first, second = submit(batcher, 1, 2)
    await wire.until_sent(1)
    first.cancel()
    await asyncio.wait({first})
    wire.answer(0)

    assert await second == 4
    assert first.cancelled()


async def test_a_member_that_fails_in_flight_after_its_cancellation_leaves_the_others() -> None:
    wire = Wire()
    first, second = submit(Batcher(wire.send), 1, 2)
    await wire.until_sent(1)
    first.cancel()
    await asyncio.wait({first})
    wire.fail(0, ConnectionError("cut"))

    with pytest.raises(ConnectionError):
        await second


async def test_a_member_cancelled_before_its_batch_leaves_is_dropped() -> None:
    wire = Wire()
    batcher = Batcher(wire.send)
    (first,) = submit(batcher, 1)
    await wire.until_sent(1)
    second, third = submit(batcher, 2, 3)
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.wait({second})
    wire.answer(0)
    await wire.until_sent(2)
    wire.answer(1)

    assert list(await asyncio.gather(first, third)) == [2, 6]
    assert wire.batches == [[1], [3]]


async def test_a_member_past_its_deadline_is_dropped_with_a_timeout() -> None:
    wire = Wire()
    batcher = Batcher(wire.send)
    (first,) = submit(batcher, 1)
    await wire.until_sent(1)
    now = asyncio.get_running_loop().time()
    late = asyncio.create_task(batcher.submit(2, deadline=now))
    in_time = asyncio.create_task(batcher.submit(3, deadline=now + 60))
    await asyncio.sleep(0)
    wire.answer(0)
    await wire.until_sent(2)
    wire.answer(1)

    with pytest.raises(TimeoutError):
        await late
    assert list(await asyncio.gather(first, in_time)) == [2, 6]
    assert wire.batches == [[1], [3]]


async def test_close_answers_everybody_and_takes_nobody() -> None:
    wire = Wire()
    batcher = Batcher(wire.send)
    (first,) = submit(batcher, 1)
    await wire.until_sent(1)
    (second,) = submit(batcher, 2)
    await asyncio.sleep(0)
    closing = asyncio.create_task(batcher.close())
    await asyncio.sleep(0)
    with pytest.raises(BatcherClosedError):
        await batcher.submit(3)
    with pytest.raises(BatcherClosedError):
        await batcher.submit_all([4])
    wire.answer(0)
    await wire.until_sent(2)

    assert not closing.done()

    wire.answer(1)
    await closing
    assert (first.result(), second.result()) == (2, 4)


async def test_who_submits_the_moment_a_flight_ends_gets_a_flight_too() -> None:
    batcher: Batcher[int, int] = Batcher(echo)
    async with asyncio.timeout(5):
        for number in range(3):
            assert await batcher.submit(number) == number


async def test_what_answers_set_off_leaves_with_the_next_batch() -> None:
    wire = Wire()
    batcher: Batcher[int, int] = Batcher(wire.send, turn_count=4)

    async def come_back(first: int) -> int:
        await batcher.submit(first)
        return await batcher.submit(first + 10)

    (leading,) = submit(batcher, 0)
    await wire.until_sent(1)
    following = [asyncio.create_task(come_back(number)) for number in (1, 2)]
    await asyncio.sleep(0)
    wire.answer(0)
    await wire.until_sent(2)
    (late,) = submit(batcher, 3)
    await asyncio.sleep(0)
    wire.answer(1)
    await wire.until_sent(3)
    wire.answer(2)

    async with asyncio.timeout(5):
        assert await asyncio.gather(leading, late, *following) == [0, 6, 22, 24]
    assert wire.batches == [[0], [1, 2], [3, 11, 12]]


async def test_the_first_of_a_batch_lingers_for_company_where_it_may() -> None:
    wire = Wire()
    batcher = Batcher(wire.send, linger_seconds=0.05)
    (first,) = submit(batcher, 1)
    await asyncio.sleep(0)
    assert wire.batches == []
    second = submit(batcher, 2)
    await wire.until_sent(1)
    # What comes while a batch is under way lingers by itself.
    third = submit(batcher, 3)
    await asyncio.sleep(0)
    wire.answer(0)
    await wire.until_sent(2)
    wire.answer(1)

    assert await asyncio.gather(first, *second, *third) == [2, 4, 6]
    assert wire.batches == [[1, 2], [3]]


@pytest.mark.parametrize("why", ["full", "closed"])
async def test_nobody_lingers_for_nothing(why: str) -> None:
    wire = Wire()
    batcher = Batcher(wire.send, linger_seconds=3_600, size_max=2)
    answers = submit(batcher, 1, *([2] if why == "full" else []))
    await asyncio.sleep(0)
    closing = asyncio.create_task(batcher.close()) if why == "closed" else None
    await wire.until_sent(1)
    wire.answer(0)

    assert await asyncio.gather(*answers) == [2, 4][: len(answers)]
    if closing:
        await closing
