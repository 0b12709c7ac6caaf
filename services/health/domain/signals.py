"""What the end of a call says about its provider: the classification table.

The table of the installation stands in `docs/operations.md`; rows of its own come before it.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

# Means any provider in a row of the table.
ANY: Final = "*"
# One row: the provider, the class of the error, and what that says.
_ROW: Final = re.compile(r"([a-z0-9][a-z0-9._-]{0,63}|\*):([^\s:=,]{1,64})=([a-z]+)")


class Outcome(enum.Enum):
    """How a call ended, as its caller reports it."""

    SUCCEEDED = 1
    PROVIDER_FAILED = 2
    REJECTED = 3
    ABORTED = 4
    THROTTLED = 5


class Signal(enum.Enum):
    """What the end of a call says; the values are those of the setting."""

    SUCCEEDED = "succeeded"
    # The provider failed: counts on all breakers of the call's way.
    FAILED = "failed"
    # The credential is wrong or its quota is used up: counts on the credential's breaker only.
    REFUSED = "refused"
    # The provider asks to be left alone for a while: the credential cools, nothing fails.
    THROTTLED = "throttled"
    # Says nothing, but the call no longer probes.
    NEUTRAL = "neutral"


_BY_OUTCOME: Final = {
    Outcome.SUCCEEDED: Signal.SUCCEEDED,
    Outcome.PROVIDER_FAILED: Signal.FAILED,
    Outcome.REJECTED: Signal.NEUTRAL,
    Outcome.ABORTED: Signal.NEUTRAL,
    Outcome.THROTTLED: Signal.THROTTLED,
}
# Classes of errors that say more than the outcome does. Quotas come as 429 or 400.
_BY_ERROR: Final = {
    "401": Signal.REFUSED,
    "402": Signal.REFUSED,
    "403": Signal.REFUSED,
    "insufficient_quota": Signal.REFUSED,
    "quota_exceeded": Signal.REFUSED,
    "billing_hard_limit_reached": Signal.REFUSED,
    "credit_balance_too_low": Signal.REFUSED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification:
    """The table: what outcomes and classes of errors say, by provider."""

    # (provider or ANY, class of the error) -> what it says; before the built-in rows.
    rows: Mapping[tuple[str, str], Signal] = field(default_factory=dict)

    def classify(self, provider: str, outcome: Outcome, error_type: str) -> Signal:
        """Returns what the end of a call says about a provider.

        A success is a success and a caller that left says nothing, whatever rows there are.
        """
        if outcome in (Outcome.SUCCEEDED, Outcome.ABORTED):
            return _BY_OUTCOME[outcome]
        own = self.rows.get((provider, error_type)) or self.rows.get((ANY, error_type))
        return own or _BY_ERROR.get(error_type) or _BY_OUTCOME[outcome]


def parse_classification(text: str) -> Classification:
    """Reads `provider:error_type=signal[,…]`; `*` is any provider. Raises ValueError."""
    rows: dict[tuple[str, str], Signal] = {}
    allowed = ", ".join(signal.value for signal in Signal if signal is not Signal.SUCCEEDED)
    for position, entry in enumerate(filter(None, map(str.strip, text.split(","))), start=1):
        match = _ROW.fullmatch(entry)
        if match is None or match[3] not in allowed.split(", "):
            raise ValueError(
                f"row {position} must be `provider:error_type=signal`; signals are {allowed}"
            )
        if (match[1], match[2]) in rows:
            raise ValueError(f"row {position} repeats {match[1]}:{match[2]}")
        rows[match[1], match[2]] = Signal(match[3])
    return Classification(rows=rows)
