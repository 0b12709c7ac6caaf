"""The SQL of answers that are kept. Each function runs the query of its name."""

from __future__ import annotations

import datetime as dt

import asyncpg

from gateway.store import Store


class AnswerStore:
    """Each statement by itself on a pooled connection."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def begin_http_request(
        self,
        digest: bytes,
        request_digest: bytes,
        *,
        kept_seconds: float,
        abandoned_seconds: float,
    ) -> dt.datetime | None:
        """Returns when the request began; None: it was made before."""
        values = (digest, request_digest, kept_seconds, abandoned_seconds)
        begun: dt.datetime | None = await self._store.value("begin_http_request", *values)
        return begun

    async def fetch_http_answer(self, digest: bytes) -> asyncpg.Record | None:
        """Returns `request_digest` and `answer`; the latter is None while it is under way."""
        return await self._store.row("fetch_http_answer", digest)

    async def end_http_request(self, digest: bytes, begun: dt.datetime, answer: bytes) -> None:
        """Keeps the answer, unless somebody else took the request over."""
        await self._store.value("end_http_request", digest, begun, answer)

    async def forget_http_request(self, digest: bytes, begun: dt.datetime) -> None:
        """Lets the request be made again."""
        await self._store.value("forget_http_request", digest, begun)

    async def prune_http_answers(self, *, kept_seconds: float, count_max: int) -> int:
        """Removes some that are too old; returns how many."""
        return int(await self._store.value("prune_http_answers", kept_seconds, count_max))
