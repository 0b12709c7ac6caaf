"""What may be wrong with a provider for a while, besides being out of service."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from local.demo.provider.generation import Generation

SLOWNESS_MAX: Final = 1_000.0
RETRY_AFTER_SECONDS_MAX: Final = 3_600


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Nothing is wrong, by default."""

    # Share of calls that fail with 500, 0 to 1.
    error_rate: float = 0.0
    # Multiplies every latency.
    slowness: float = 1.0
    # Calls get 429 with this Retry-After. 0: they do not.
    retry_after_seconds: int = 0
    # Streams break in the middle.
    cuts_streams: bool = False

    def befall(self, course: Generation, call_id: str, *, streams: bool) -> Generation:
        """Returns what becomes of a call's course."""
        course = replace(
            course,
            first_token_seconds=course.first_token_seconds * self.slowness,
            seconds=course.seconds * self.slowness,
        )
        if self.retry_after_seconds:
            return replace(course, fault="429", retry_after_seconds=self.retry_after_seconds)
        if random.Random(f"trouble:{call_id}").random() < self.error_rate:
            return replace(course, fault="500")
        if self.cuts_streams and streams:
            return replace(course, fault="reset")
        return course


NONE: Final = Trouble()


def parse_trouble(fields: Mapping[str, Any]) -> Trouble:
    """Reads a trouble; what is not given is as it should be. Raises ValueError."""
    trouble = Trouble(
        error_rate=float(fields.get("error_rate", 0)),
        slowness=float(fields.get("slowness", 1)),
        retry_after_seconds=int(fields.get("retry_after_seconds", 0)),
        cuts_streams=bool(fields.get("cuts_streams", False)),
    )
    if not 0 <= trouble.error_rate <= 1:
        raise ValueError("error_rate must be from 0 to 1")
    if not 1 <= trouble.slowness <= SLOWNESS_MAX:
        raise ValueError(f"slowness must be from 1 to {SLOWNESS_MAX:g}")
    if not 0 <= trouble.retry_after_seconds <= RETRY_AFTER_SECONDS_MAX:
        raise ValueError(f"retry_after_seconds must be from 0 to {RETRY_AFTER_SECONDS_MAX}")
    return trouble
