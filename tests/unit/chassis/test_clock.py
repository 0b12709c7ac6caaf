from __future__ import annotations

from chassis.clock import Clock, monotonic


def test_the_clock_never_steps_back() -> None:
    clock: Clock = monotonic
    readings = [clock() for _ in range(1000)]

    assert readings == sorted(readings)
