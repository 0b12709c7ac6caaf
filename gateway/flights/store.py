"""The SQL of shared calls. Each function runs the query of its name, or says which."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from gateway.domain.calls import Candidate
from gateway.store import Store

# Digest of what makes calls identical, and the id of the one that leads.
Flight: TypeAlias = tuple[bytes, str]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Answer:
    """What a call that led has shared."""

    content: bytes
    share_time: dt.datetime
    cost_nanos: int
    candidate: Candidate


class FlightStore:
    """Each statement by itself on a pooled connection."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def join_flight(
        self, flight: Flight, *, lease_seconds: float, seconds_max: float
    ) -> str | None:
        """Returns which call leads, this one or another; runs `find_flight` too. None: whoever
        led has just ended.
        """
        if await self._store.value("join_flight", *flight, lease_seconds, seconds_max) is not None:
            return flight[1]
        leader = await self._store.value("find_flight", flight[0])
        return None if leader is None else str(leader)

    async def share_flight(
        self,
        flight: Flight,
        content: bytes,
        *,
        keep_seconds: float,
        cost_nanos: int,
        candidate: Candidate,
    ) -> bool:
        """Keeps an answer; tells whether the call led."""
        given = (content, keep_seconds, cost_nanos, candidate.provider, candidate.model)
        return await self._store.value("share_flight", *flight, *given) is not None

    async def leave_flight(self, flight: Flight) -> bool:
        """Lets another call lead; tells whether the call led."""
        return await self._store.value("leave_flight", *flight) is not None

    async def fetch_flights(self, flights: Sequence[Flight]) -> dict[Flight, Answer | None]:
        """Returns those that are there, with the answers of those that have one."""
        digests, leaders = [each[0] for each in flights], [each[1] for each in flights]
        rows = await self._store.rows("fetch_flights", digests, leaders)
        return {
            (row["digest"], str(row["leader"])): None
            if row["answer"] is None
            else Answer(
                content=row["answer"],
                share_time=row["share_time"],
                cost_nanos=row["cost_nanos"],
                candidate=Candidate(provider=row["provider"], model=row["model"]),
            )
            for row in rows
        }

    async def prune_flights(self, *, count_max: int) -> int:
        """Removes what nobody waits for any more; returns how many there were."""
        return int(await self._store.value("prune_flights", count_max))
