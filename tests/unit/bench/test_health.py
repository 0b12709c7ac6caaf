"""The health bench says which targets were met."""

from __future__ import annotations

from bench.health import judge


def test_each_target_is_told_with_what_was_measured() -> None:
    rows = {
        "kill-ack": {"p99": 51.0},
        "breaker-seen": {"p99": 199.0},
        "watch-1000": {"p99": 300.0, "ratio": 1.4},
        "fan-out": {"p99": 200.0},
    }

    assert [(each["shape"], each["measured"], each["met"]) for each in judge(rows)] == [
        ("kill-ack", 51.0, False),
        ("breaker-seen", 199.0, True),
        ("watch-1000", 1.4, True),
    ]
