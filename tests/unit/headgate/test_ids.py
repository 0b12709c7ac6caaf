from __future__ import annotations

import os
import signal
import threading
import uuid

from headgate.ids import IdMaker


class Clock:
    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms


def test_an_id_is_a_uuid_of_version_7_with_the_time_of_its_making() -> None:
    made = IdMaker(read_clock_ms=Clock(0x0189_0A5D_AC96)).make()
    parsed = uuid.UUID(made)

    assert made == str(parsed)
    assert made.startswith("01890a5d-ac96-7")
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)


def test_ids_of_one_millisecond_grow() -> None:
    maker = IdMaker(read_clock_ms=Clock(1_000))
    made = [maker.make() for _ in range(1_000)]

    assert made == sorted(set(made))


def test_a_clock_that_steps_back_makes_no_id_smaller() -> None:
    clock = Clock(2_000)
    maker = IdMaker(read_clock_ms=clock)
    before = maker.make()
    clock.now_ms = 1_000

    assert maker.make() > before


def test_a_millisecond_that_runs_out_of_ids_borrows_from_the_next_one() -> None:
    maker = IdMaker(read_clock_ms=Clock(1_000), read_random=lambda count: b"\xff" * count)
    first = maker.make()
    maker._random = (1 << 74) - 1
    later = [maker.make() for _ in range(3)]

    assert [first, *later] == sorted({first, *later})
    assert all(uuid.UUID(each).version == 7 for each in later)
    assert later[0].startswith("00000000-03e9-")


def test_many_threads_make_different_ids() -> None:
    maker = IdMaker(read_clock_ms=Clock(1_000))
    made: list[str] = []

    def work() -> None:
        made.extend([maker.make() for _ in range(500)])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    assert len(set(made)) == 2_000


def test_a_forked_child_repeats_no_id_of_its_parent() -> None:
    # A constant clock: only the randomness tells parent and child apart.
    maker = IdMaker(read_clock_ms=Clock(1_000))
    maker.make()
    reader, writer = os.pipe()
    # Another thread of the parent may be making an id just then.
    maker._lock.acquire()
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        os.write(writer, maker.make().encode())
        os._exit(0)
    maker._lock.release()
    os.waitpid(child, 0)
    theirs = os.read(reader, 64).decode()
    os.close(reader)
    os.close(writer)

    assert uuid.UUID(theirs).version == 7
    assert theirs != maker.make()
