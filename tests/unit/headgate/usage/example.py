"""One usage object and what it says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from headgate.usage.counts import Meters


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One object, what reads it, and what it says."""

    name: str
    read: Callable[[object], Meters]
    usage: Any
    meters: Meters
    # How `genai-prices` is told to read the same: provider and flavour. Empty: it can't.
    provider: str = ""
    flavour: str = ""
    # Where the object stands in an answer.
    root: str = "usage"
