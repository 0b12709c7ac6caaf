"""Limits and calls of every kind, in few words."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

from services.admission.domain.calendars import Period
from services.admission.domain.calls import CallKey, Candidate, Reserve
from services.admission.domain.limits import Limit, Metric, ordered
from services.admission.domain.windows import CalendarWindow
from tests.unit.admission.bookkeeping import TTL

DAY = CalendarWindow(period=Period.DAY)
SECOND = dt.timedelta(seconds=1)


def make_limit(limit_id: str, metric: Metric, cap: int, **fields: Any) -> Limit:
    defaults: dict[str, Any] = {"scope": ordered({"org": "*"}), "window": DAY}
    return Limit(limit_id=limit_id, metric=metric, cap=cap, **defaults | fields)


def make_call(number: int, cost: int = 10, tokens: int = 0, **fields: Any) -> Reserve:
    defaults: dict[str, Any] = {
        "key": CallKey("acme", uuid.UUID(int=number)),
        "fingerprint": b"f" * 32,
        "operation": "chat",
        "candidates": (Candidate("p", "m", cost, 0, tokens),),
        "hold_duration": TTL,
        "price_version": 1,
    }
    return Reserve(**defaults | fields)


def key(number: int) -> CallKey:
    return CallKey("acme", uuid.UUID(int=number))
