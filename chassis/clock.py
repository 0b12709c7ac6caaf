"""The local clock, for durations and waits only; what decides is the database's clock."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Reads a clock that never steps back. Its zero means nothing."""

    def __call__(self) -> float:
        """Returns seconds."""


def monotonic() -> float:
    """Returns the process's monotonic seconds."""
    return time.monotonic()
