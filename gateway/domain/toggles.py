"""Toggles, as health last told: what is on for a call, and why."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

# Off: no call to a model is admitted.
AI_GENERATION: Final = "ai-generation"
# Off: no call is admitted without a person's leave.
AUTO_APPROVAL: Final = "auto-approval"


class Why(enum.Enum):
    """Why a toggle is on or off; the values are those of OpenFeature."""

    # A guardrail, or a toggle without rules.
    STATIC = "STATIC"
    # No rule is about this place.
    DEFAULT = "DEFAULT"
    # A rule is.
    TARGETING_MATCH = "TARGETING_MATCH"


@dataclass(frozen=True, slots=True, kw_only=True)
class Toggle:
    """A feature that is on or off."""

    toggle_id: str
    enabled: bool
    locked: bool = False
    # Where it is different, by org and operation; either may be empty.
    rules: Mapping[tuple[str, str], bool] = field(default_factory=dict)

    def evaluate(self, *, org: str, operation: str) -> tuple[bool, Why]:
        """Returns whether it is on there, and why: the most specific rule decides."""
        if self.locked or not self.rules:
            return self.enabled, Why.STATIC
        for place in ((org, operation), (org, ""), ("", operation)):
            found = self.rules.get(place) if any(place) else None
            if found is not None:
                return found, Why.TARGETING_MATCH
        return self.enabled, Why.DEFAULT


def is_off(toggle: Toggle | None, *, org: str, operation: str) -> bool:
    """Tells whether a toggle is off; one that nobody has told of is on."""
    if toggle is None or (toggle.enabled and not toggle.rules):
        return False
    return not toggle.evaluate(org=org, operation=operation)[0]
