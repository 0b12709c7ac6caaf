"""What ended calls used of their worst case: learned in memory, kept in the database.

Every replica adds what it saw and reads what all have seen. What a crash loses are a few seconds
of statistics.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from chassis import database
from services.admission.domain.calls import Reservation
from services.admission.domain.estimates import Kind, bucket_of, percentile
from services.admission.queries import QUERIES


class Shares:
    """The histograms of shares, and the percents that they give."""

    def __init__(self, pool: database.Pool) -> None:
        self._pool = pool
        self._news: Counter[tuple[str, str, str, int]] = Counter()
        # Percent of the worst case that calls of a kind hardly ever exceed.
        self.percents: Mapping[Kind, int] = {}

    def learn(self, ended: Iterable[Reservation]) -> None:
        """Counts calls that have just been settled."""
        for call in ended:
            bucket = bucket_of(call)
            if bucket is not None:
                self._news[call.operation, call.provider, call.model, bucket] += 1

    async def flush(self) -> None:
        """Adds what was learned to what all know."""
        if not self._news:
            return
        news, self._news = self._news, Counter()
        rows = [(*kind, count) for kind, count in news.items()]
        await self._pool.execute(
            QUERIES.add_shares.sql, *[list(column) for column in zip(*rows, strict=True)]
        )

    async def reload(self) -> None:
        """Reads what all have learned."""
        histograms: dict[Kind, dict[int, int]] = defaultdict(dict)
        for row in await self._pool.fetch(QUERIES.select_shares.sql):
            kind = Kind(row["operation"], row["provider"], row["model"])
            histograms[kind][row["bucket"]] = row["call_count"]
        percents = {kind: percentile(each) for kind, each in histograms.items()}
        self.percents = {kind: known for kind, known in percents.items() if known is not None}

    async def fade(self, now: dt.datetime) -> None:
        """Lets the past count half, once in the first hour of a day: what calls use changes."""
        if now.hour == 0:
            await self._pool.execute(QUERIES.halve_shares.sql)

    async def exchange(self) -> None:
        """Adds what was learned here and reads what was learned elsewhere."""
        await self.flush()
        await self.reload()
