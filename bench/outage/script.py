"""What happens to the provider, and for how long. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

# How much of a trouble's end belongs to it: calls that it met end later.
AFTERMATH_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A stretch of the script."""

    # Such as "hard down"; empty: the provider is well.
    name: str
    seconds: float
    out: bool = False
    # Fields of the stand-in's Trouble.
    trouble: Mapping[str, float] = field(default_factory=dict)
    # Bad enough, and for long enough, that the breaker has to open.
    opens: bool = False
    # Answers that have begun may be broken off, and are ended by the fallback text.
    cuts: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A run."""

    phases: Sequence[Phase]
    # Calls a second.
    rate: float
    # Divides the provider's latencies.
    speed: float
    # Longest time from the end of the script until the provider has its calls back.
    recovery_seconds: float
    # Settings of health, by their names without the prefix.
    health: Mapping[str, str]

    @property
    def seconds(self) -> float:
        """How long it takes, without the recovery."""
        return sum(phase.seconds for phase in self.phases)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """When a phase really was. Seconds since the start."""

    phase: Phase
    start: float
    end: float

    def covers(self, at: float) -> bool:
        """Tells whether a moment is in it."""
        return self.start <= at < self.end


def _well(seconds: float) -> Phase:
    return Phase(name="", seconds=seconds)


def _down(name: str, seconds: float) -> Phase:
    # Streams under way break as well.
    return Phase(name=name, seconds=seconds, out=True, opens=True, cuts=True)


def _errors(seconds: float, *, opens: bool) -> Phase:
    return Phase(name="50 % errors", seconds=seconds, trouble={"error_rate": 0.5}, opens=opens)


def _slow(seconds: float, slowness: float, *, opens: bool) -> Phase:
    return Phase(name="slow", seconds=seconds, trouble={"slowness": slowness}, opens=opens)


def _throttled(seconds: float, retry_after: int) -> Phase:
    trouble = {"retry_after_seconds": retry_after}
    return Phase(name="429, Retry-After", seconds=seconds, trouble=trouble)


def _cut(seconds: float) -> Phase:
    trouble = {"cuts_streams": True}
    return Phase(name="truncated streams", seconds=seconds, trouble=trouble, cuts=True)


FULL: Final = Script(
    phases=(
        _well(30),
        _down("hard down", 60),
        _well(60),
        _errors(60, opens=True),
        _well(60),
        _slow(90, 8, opens=True),
        _well(60),
        *(phase for _ in range(3) for phase in (_down("flapping", 60), _well(60))),
        _throttled(60, 20),
        _well(30),
        _cut(60),
        _well(60),
    ),
    rate=20,
    speed=1,
    recovery_seconds=180,
    health={
        "OPEN_SECONDS": "15",
        "OPEN_SECONDS_MAX": "30",
        "SLOW_SECONDS": "3",
        "PROBE_SECONDS": "20",
    },
)
SHORT: Final = Script(
    phases=(
        _well(3),
        _down("hard down", 5),
        _well(5),
        # Too short to be sure of five failures in a row, or of twenty slow calls.
        _errors(6, opens=False),
        _well(5),
        _slow(14, 40, opens=False),
        _well(5),
        *(phase for _ in range(2) for phase in (_down("flapping", 4), _well(3))),
        _throttled(5, 3),
        _well(3),
        _cut(4),
        _well(2),
    ),
    rate=10,
    speed=4,
    recovery_seconds=60,
    health={
        "OPEN_SECONDS": "1.5",
        "OPEN_GROWTH": "1",
        "SLOW_SECONDS": "3.5",
        # The last minute has other phases in it too.
        "SLOW_RATE": "0.4",
        "PROBE_SECONDS": "10",
    },
)
