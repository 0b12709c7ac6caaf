"""What the SDK's bench measures, and what is promised of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One row of the table."""

    callers: int
    # The shape that it is compared with; empty: it is what others are compared with.
    beside: str = ""
    # RPCs that one unit makes, as the other one counts them.
    rpcs: int = 1
    # Whose processor time counts: "load" is the backend's.
    process: str = "load"
    # Runs at the same time as the shape that it stands beside.
    together: bool = False
    # What `--check` demands.
    rate_min: float = 0.0
    ratio_min: float = 0.0
    p95_ms_max: float = float("inf")
    # How much longer the median call takes than beside.
    added_ms_max: float = float("inf")


# Each baseline stands beside what is compared with it, so that both meet the same moment.
SHAPES: Final[Mapping[str, Shape]] = {
    "echo-1000": Shape(callers=1000),
    "sdk-echo-1000": Shape(callers=1000, beside="echo-1000"),
    "sdk-admit-1000": Shape(callers=1000, beside="echo-1000", rate_min=8000, p95_ms_max=150),
    "sdk-cycle": Shape(callers=1000, beside="echo-1000", rpcs=2, rate_min=2500),
    "plain-http": Shape(callers=1),
    "governed-http": Shape(callers=1, beside="plain-http", added_ms_max=5),
    "auth-off": Shape(callers=32, process="off"),
    "auth-on": Shape(callers=32, beside="auth-off", together=True, process="on", ratio_min=0.95),
}


def find_failures(figures: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Returns what is less than promised, one line each."""
    checks: list[tuple[str, Callable[[Shape], float], int]] = [
        ("rate", lambda shape: shape.rate_min, 1),
        ("ratio", lambda shape: shape.ratio_min, 1),
        ("p95_ms", lambda shape: shape.p95_ms_max, -1),
        ("added_ms", lambda shape: shape.added_ms_max, -1),
    ]
    failures = [
        f"{name}: {row['errors']} errors, first {row['first_error']}"
        for name, row in figures.items()
        if row["errors"]
    ]
    for name, row in figures.items():
        for key, bound, sign in checks:
            if row[key] * sign < bound(SHAPES[name]) * sign:
                failures.append(f"{name}: {key} is {row[key]}, promised {bound(SHAPES[name])}")
    return failures
