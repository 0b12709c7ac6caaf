"""The catalogue of events: every type that is ever written, with its version and its facts.

docs/events.md is generated from it. Within one version of a type facts are only added; a fact that
goes away or changes its meaning makes a new version.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from services.accounting.domain.event_types import EventType
from services.accounting.domain.event_types_money import MONEY_EVENTS
from services.accounting.domain.event_types_running import RUNNING_EVENTS

CATALOGUE: Final[Mapping[str, EventType]] = {
    each.name: each for each in (*MONEY_EVENTS, *RUNNING_EVENTS)
}
