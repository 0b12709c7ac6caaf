"""What the tests of admission say often."""

from __future__ import annotations

import datetime as dt
import time
import uuid
from typing import Protocol

from services.admission.auditor import audit
from services.admission.domain.calendars import Period
from services.admission.domain.calls import CallKey, Candidate, Reserve
from services.admission.domain.limits import Limit, Metric
from services.admission.domain.windows import CalendarWindow
from services.admission.engine import Engine
from services.admission.policy import Policy

MINUTE = dt.timedelta(minutes=1)
# Larger than any day's traffic of a test, so that only the caps under test bind.
ROOMY = 10**15


class Start(Protocol):
    """The `start` fixture."""

    async def __call__(self, name: str = "admission") -> Engine:
        """Returns a new replica on the test's database."""


def new_call_id() -> uuid.UUID:
    """Returns a version 7 UUID of now."""
    milliseconds = time.time_ns() // 1_000_000
    random = uuid.uuid4().int & ((1 << 76) - 1)
    value = (milliseconds << 80) | (7 << 76) | random
    return uuid.UUID(int=(value & ~(3 << 62)) | (2 << 62))


def make_reserve(
    *costs: int,
    org: str = "acme",
    call_id: uuid.UUID | None = None,
    fingerprint: bytes = b"f" * 32,
    hold: dt.timedelta = MINUTE,
) -> Reserve:
    return Reserve(
        key=CallKey(org, call_id or new_call_id()),
        fingerprint=fingerprint,
        operation="chat",
        candidates=tuple(
            Candidate("provider", f"model-{position}", cost, 7)
            for position, cost in enumerate(costs)
        ),
        hold_duration=hold,
        price_version=3,
    )


def make_limit(
    limit_id: str,
    *,
    cap: int,
    org: str | None = "acme",
    metric: Metric = Metric.COST,
    period: Period = Period.DAY,
    time_zone: str = "UTC",
) -> Limit:
    return Limit(
        limit_id=limit_id,
        scope=() if org is None else (("org", org),),
        metric=metric,
        window=CalendarWindow(period=period, time_zone=time_zone),
        cap=cap,
        owner="finance",
    )


async def put_limit(engine: Engine, limit: Limit) -> int:
    return await Policy(engine.pool).put_limit(limit, audit_id="audit-1")


async def assert_books(engine: Engine) -> None:
    """Every counter equals its reservations, and none is overspent."""
    found = await audit(engine.pool, grace=dt.timedelta(days=1))
    assert found.is_clean, found
