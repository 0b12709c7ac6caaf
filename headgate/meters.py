"""What a call has used so far."""

from __future__ import annotations

from typing import Final

from headgate.api.common.v1 import call_pb2

# What the gateway accepts: no call moves a billion tokens.
METER_COUNT_MAX: Final = 10**9


class Meters:
    """Collects usage; the last word on each meter counts. A meter never noted is missing."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def __bool__(self) -> bool:
        return bool(self._counts)

    @property
    def counts(self) -> dict[str, int]:
        """What was noted, by the contract's field names."""
        return self._counts

    def note(self, **counts: int | None) -> None:
        """Notes counts by the contract's field names. None leaves a meter as it is.

        Raises ValueError, and notes nothing, if one is no integer, negative or absurdly great.
        """
        known = {name: count for name, count in counts.items() if count is not None}
        for name, count in known.items():
            whole = isinstance(count, int) and not isinstance(count, bool)
            if not whole or not 0 <= count <= METER_COUNT_MAX:
                raise ValueError(f"{name} is {count!r}; it must be an integer of 0 or more")
        self._counts |= known

    def to_message(self) -> call_pb2.UsageMeters | None:
        """Returns the meters. None: no usage is known."""
        return call_pb2.UsageMeters(**self._counts) if self._counts else None
