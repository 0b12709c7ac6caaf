"""Load and its latencies: closed loops of callers, and open loops of a fixed rate.

An open loop's latency counts from the intended start, so a server that stalls is not forgiven the
calls that it kept from starting (Gil Tene's "coordinated omission").
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

# One unit of work; returns how many calls it made. Raises if any of them went wrong.
Work = Callable[[], Awaitable[int]]
# Returns the seconds of processor time that each process has used so far.
Meter = Callable[[], dict[str, float]]
# Callers that start at once meet cold caches and growing batches: not counted.
WARM_UP_SECONDS = 1.0


@dataclass(slots=True)
class Sample:
    """What one run showed."""

    seconds: float = 0.0
    call_count: int = 0
    error_count: int = 0
    # Seconds, one for each unit of work.
    latencies: list[float] = field(default_factory=list)
    # Seconds of processor time that each process used meanwhile; "load" makes the load.
    processor_seconds: dict[str, float] = field(default_factory=dict)
    first_error: str = ""

    def add(self, other: Sample) -> None:
        """Adds another run of the same shape."""
        self.seconds += other.seconds
        self.call_count += other.call_count
        self.error_count += other.error_count
        self.latencies += other.latencies
        self.first_error = self.first_error or other.first_error
        for name, seconds in other.processor_seconds.items():
            self.processor_seconds[name] = self.processor_seconds.get(name, 0.0) + seconds

    @property
    def rate(self) -> float:
        """Calls a second."""
        return self.call_count / self.seconds

    def percentile_ms(self, percent: float) -> float:
        """The latency, in milliseconds, that `percent` of the work did not exceed."""
        if not self.latencies:
            return math.nan
        ordered = sorted(self.latencies)
        return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)] * 1000


class Recorder:
    """Runs units of work and notes those that count."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self.sample = Sample()
        self.counts = False

    async def run(self, work: Work, start: float) -> None:
        """Runs one unit whose latency counts from `start`."""
        try:
            count = await work()
        except Exception as error:  # noqa: BLE001 - every failure is one of the figures
            if self.counts:
                self.sample.error_count += 1
                self.sample.first_error = self.sample.first_error or repr(error)[:500]
            return
        if self.counts:
            self.sample.latencies.append(time.perf_counter() - start)
            self.sample.call_count += count

    async def count(self, seconds: float) -> None:
        """Counts what ends within the next seconds."""
        used, self.counts, started = self._meter(), True, time.perf_counter()
        await asyncio.sleep(seconds)
        self.counts, self.sample.seconds = False, time.perf_counter() - started
        self.sample.processor_seconds = {
            name: total - used.get(name, 0.0) for name, total in self._meter().items()
        }


async def run_closed(work: Work, meter: Meter, *, callers: int, seconds: float) -> Sample:
    """Each caller starts its next unit when the last one has ended."""
    recorder, stopped = Recorder(meter), False

    async def call() -> None:
        while not stopped:
            await recorder.run(work, time.perf_counter())

    tasks = [asyncio.create_task(call()) for _ in range(callers)]
    await asyncio.sleep(WARM_UP_SECONDS)
    await recorder.count(seconds)
    stopped = True
    await asyncio.gather(*tasks)
    return recorder.sample


async def run_open(work: Work, meter: Meter, *, rate: float, seconds: float) -> Sample:
    """Units start at a fixed rate, whether or not earlier ones have ended."""
    recorder, running = Recorder(meter), set[asyncio.Task[None]]()
    counting = asyncio.create_task(_count_after_warm_up(recorder, seconds))
    start, number = time.perf_counter(), 0
    while not counting.done():
        due = start + number / rate
        if (wait := due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        # Late starts are made up for at once, and their lateness is part of their latency.
        task = asyncio.create_task(recorder.run(work, due))
        running.add(task)
        task.add_done_callback(running.discard)
        number += 1
        if number % 64 == 0:
            await asyncio.sleep(0)
    await asyncio.gather(*running)
    return recorder.sample


async def _count_after_warm_up(recorder: Recorder, seconds: float) -> None:
    await asyncio.sleep(WARM_UP_SECONDS)
    await recorder.count(seconds)
