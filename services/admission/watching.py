"""Streams the state of limits, so that a queue can pause and resume."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from headgate.api.admission.v1 import admission_pb2 as pb
from services.admission import wire_explanations
from services.admission.domain.calls import Reserve
from services.admission.explanations import Explanations

# How old what a watcher sees may be.
INTERVAL_SECONDS: Final = 0.25


async def watch(
    explanations: Explanations, call: Reserve, *, interval_seconds: float = INTERVAL_SECONDS
) -> AsyncIterator[pb.WatchLimitsResponse]:
    """Yields the state at once and then whenever it has changed."""
    last = None
    while True:
        outlook = await explanations.look(call)
        state = wire_explanations.render_outlook(outlook, explanations.limits_version)
        if last is None or _differs(state, last):
            yield state
            last = state
        await asyncio.sleep(interval_seconds)


def _differs(state: pb.WatchLimitsResponse, last: pb.WatchLimitsResponse) -> bool:
    """Tells whether anything but the passing of time has changed."""
    seen = pb.WatchLimitsResponse()
    seen.CopyFrom(last)
    # A delay shrinks by itself; whoever got it knows when.
    if state.HasField("retry_delay") and last.HasField("retry_delay"):
        seen.retry_delay.CopyFrom(state.retry_delay)
    return state != seen
