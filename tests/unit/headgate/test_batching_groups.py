"""Members that come together and are waited for together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from headgate.batching import Batcher, BatcherFullError
from tests.unit.headgate.flights import Answer, Wire, echo, submit


async def test_a_full_batcher_takes_all_of_a_group_or_none() -> None:
    wire = Wire()
    batcher = Batcher(wire.send, waiting_count_max=3)
    (first,) = submit(batcher, 1)
    await wire.until_sent(1)
    (second,) = submit(batcher, 2)
    await asyncio.sleep(0)

    with pytest.raises(BatcherFullError):
        await batcher.submit_all([3, 4, 5])

    group = asyncio.create_task(batcher.submit_all([6, 7]))
    await asyncio.sleep(0)
    with pytest.raises(BatcherFullError):
        await batcher.submit(8)
    wire.answer(0)
    await wire.until_sent(2)
    wire.answer(1)

    assert list(await asyncio.gather(first, second)) == [2, 4]
    assert await group == [12, 14]
    assert wire.batches == [[1], [2, 6, 7]]


async def test_an_empty_group_has_no_answers() -> None:
    batcher: Batcher[int, int] = Batcher(echo)

    assert await batcher.submit_all([]) == []


async def test_a_result_that_is_an_exception_reaches_its_own_member_only() -> None:
    async def send(items: Sequence[int]) -> Sequence[Answer]:
        return [KeyError(item) if item == 2 else item for item in items]

    answers = await Batcher(send).submit_all([1, 2, 3])

    assert [answers[0], answers[2]] == [1, 3]
    assert isinstance(answers[1], KeyError)


async def test_a_group_cancelled_before_its_batch_leaves_is_dropped_whole() -> None:
    wire = Wire()
    batcher = Batcher(wire.send)
    (first,) = submit(batcher, 1)
    await wire.until_sent(1)
    group = asyncio.create_task(batcher.submit_all([2, 3]))
    (last,) = submit(batcher, 4)
    await asyncio.sleep(0)
    group.cancel()
    await asyncio.wait({group})
    wire.answer(0)
    await wire.until_sent(2)
    wire.answer(1)

    assert list(await asyncio.gather(first, last)) == [2, 8]
    assert wire.batches == [[1], [4]]


async def test_a_group_cancelled_in_flight_leaves_its_batch_alone() -> None:
    wire = Wire()
    batcher = Batcher(wire.send)
    group = asyncio.create_task(batcher.submit_all([1, 2]))
    (last,) = submit(batcher, 3)
    await wire.until_sent(1)
    group.cancel()
    await asyncio.wait({group})
    wire.answer(0)

    assert await last == 6
    assert group.cancelled()


async def test_a_group_past_its_deadline_is_dropped_with_timeouts() -> None:
    wire = Wire()
    batcher = Batcher(wire.send)
    (first,) = submit(batcher, 1)
    await wire.until_sent(1)
    now = asyncio.get_running_loop().time()
    late = asyncio.create_task(batcher.submit_all([2, 3], deadline=now))
    in_time = asyncio.create_task(batcher.submit_all([4], deadline=now + 60))
    await asyncio.sleep(0)
    wire.answer(0)
    await wire.until_sent(2)
    wire.answer(1)

    assert [type(answer) for answer in await late] == [TimeoutError, TimeoutError]
    assert (await first, await in_time) == (2, [8])
    assert wire.batches == [[1], [4]]


async def test_a_cancelled_flight_tells_a_group_which_members_it_lost() -> None:
    wire = Wire()
    batcher = Batcher(wire.send, size_max=1, flight_count_max=2)
    group = asyncio.create_task(batcher.submit_all([1, 2]))
    await wire.until_sent(2)
    wire.fail(0, asyncio.CancelledError())
    wire.answer(1)

    lost, kept = await group
    assert isinstance(lost, asyncio.CancelledError)
    assert kept == 4
