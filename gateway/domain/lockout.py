"""How long an address is locked after logins that failed in a row."""

from __future__ import annotations

from typing import Final

# So many failures a person may have without noticing.
FREE_FAILURE_COUNT: Final = 4
FIRST_LOCK_SECONDS: Final = 30.0
LOCK_SECONDS_MAX: Final = 900.0


def lock_seconds(failure_count: int) -> float:
    """Returns the seconds of the lock after the n-th failure in a row: each twice the one before.

    With the longest lock, nobody guesses more than a hundred passwords a day.
    """
    locked_count = failure_count - FREE_FAILURE_COUNT
    if locked_count <= 0:
        return 0.0
    # Beyond, the doubling has long passed the bound.
    return min(FIRST_LOCK_SECONDS * 2.0 ** min(locked_count - 1, 16), LOCK_SECONDS_MAX)
