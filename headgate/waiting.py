"""How long a denied call waits before it asks again, while it may wait for room."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from headgate.decisions import Denial, DenialReason, RetryKind

PAUSE_SECONDS_MIN: Final = 0.1
PAUSE_SECONDS_MAX: Final = 2.0
# Calls that wait for the same moment must not all come at it.
JITTER_SHARE: Final = 0.1
JITTER_SECONDS_MAX: Final = 1.0


@dataclass(slots=True)
class Waiting:
    """The pauses of one call. A delay that is promised is waited out; else they grow."""

    # Loop time after which it waits no longer.
    until: float
    random: Callable[[], float] = random.random
    _bound_seconds: float = PAUSE_SECONDS_MIN

    def find_pause(self, denial: Denial, now: float) -> float | None:
        """Returns how many seconds to wait before asking again. None: waiting is over, or idle."""
        left = self.until - now
        if left <= 0 or denial.retry_kind is RetryKind.NEVER:
            return None
        if denial.reason is DenialReason.UNREACHABLE:
            return None
        delay = None if denial.retry_delay is None else denial.retry_delay.total_seconds()
        if delay is not None and denial.retry_kind is RetryKind.AT:
            jitter = min(delay * JITTER_SHARE, JITTER_SECONDS_MAX) * self.random()
            # There is no room before that, so a shorter wait would be in vain.
            return None if delay > left else min(delay + jitter, left)
        pause = self._bound_seconds * (0.5 + self.random() / 2)
        self._bound_seconds = min(self._bound_seconds * 2, PAUSE_SECONDS_MAX)
        return min(pause, left, left if delay is None else delay)
