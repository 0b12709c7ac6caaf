"""In which tier of service a call is billed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

# Where answers and events of streams say it.
_PLACES: Final = (
    ("service_tier",),
    ("usage", "service_tier"),
    ("usage", "speed"),
    ("response", "service_tier"),
    ("message", "usage", "service_tier"),
    ("message", "usage", "speed"),
    ("usageMetadata", "trafficType"),
)
# The tier that prices are for.
_STANDARD: Final = frozenset(
    {"standard", "default", "auto", "on_demand", "traffic_type_unspecified"}
)
_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}")


def service_tier(answer: object) -> str:
    """Returns the tier that an answer or an event names. Empty: the standard one, or none."""
    for path in _PLACES:
        found = answer
        for name in path:
            found = found.get(name) if isinstance(found, Mapping) else None
        tier = found.lower().removeprefix("on_demand_") if isinstance(found, str) else ""
        if _NAME.fullmatch(tier) and tier not in _STANDARD:
            return tier
    return ""
