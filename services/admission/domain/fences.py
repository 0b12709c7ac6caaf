"""Fences: stops of all calls in a scope. Not limits: no arithmetic, and nothing overrides them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from services.admission.domain.limits import Scope
from services.admission.domain.windows import FOREVER


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """One fence, set or lifted."""

    fence_id: str
    # Orders its changes: the highest wins.
    sequence: int
    active: bool
    # What denied callers are told. May be empty.
    message: str = ""
    # Concrete values only; a call is covered if it has all of them. Empty: the platform.
    scope: Scope = ()
    # Lifts itself then.
    expire_time: dt.datetime = FOREVER

    def covers(self, dimensions: Mapping[str, str], now: dt.datetime) -> bool:
        """Tells whether a call with these dimensions is stopped."""
        if not self.active or now >= self.expire_time:
            return False
        return all(dimensions.get(name) == value for name, value in self.scope)


class Fences:
    """The fences that are set."""

    def __init__(self, fences: Iterable[Fence] = ()) -> None:
        self._active = [fence for fence in fences if fence.active]

    def __bool__(self) -> bool:
        return bool(self._active)

    def find(self, dimensions: Mapping[str, str], now: dt.datetime) -> Fence | None:
        """Returns a fence that stops a call with these dimensions, if there is one."""
        for fence in self._active:
            if fence.covers(dimensions, now):
                return fence
        return None
