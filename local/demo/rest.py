"""Waits until Headgate's books come to rest: holds expire by themselves, feeds catch up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import date
from typing import Final

from local.demo.books import Books, Check, compare
from local.demo.operator import Operator
from local.demo.reconciliation import Booking
from local.demo.stage import ORGS

POLL_SECONDS: Final = 0.5
# The longest hold of the demo's routes, a sweep, and the restart of a killed service.
EXPIRY_SECONDS_MAX: Final = 120.0
# The feed's interval, and the restart of a killed service.
AGREEMENT_SECONDS_MAX: Final = 60.0


async def read_at_rest(operator: Operator, *, start: date) -> Books:
    """Reads the books once the demo's orgs hold nothing; as they are, if that takes too long."""
    give_up = time.monotonic() + EXPIRY_SECONDS_MAX
    while True:
        books = await operator.read_books(start=start)
        if not books.held(ORGS) or time.monotonic() > give_up:
            return books
        await asyncio.sleep(POLL_SECONDS)


async def wait_for_agreement(
    operator: Operator, before: Books, bookings: Sequence[Booking], *, start: date
) -> list[Check]:
    """Compares the books until they agree; returns the last comparison."""
    give_up = time.monotonic() + AGREEMENT_SECONDS_MAX
    while True:
        after = await operator.read_books(start=start)
        checks = [
            *compare(before, after, bookings, orgs=ORGS),
            Check(name="nothing is held any more", expected_nanos=0, found_nanos=after.held(ORGS)),
        ]
        if all(check.passed for check in checks) or time.monotonic() > give_up:
            return checks
        await asyncio.sleep(POLL_SECONDS)
