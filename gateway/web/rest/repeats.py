"""Requests that are made twice: with an `Idempotency-Key` the second gets the first one's answer.

What the first one changed happens once, by whichever gateway the second comes. A failure is not
kept: the repeat is a new try.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import structlog

from chassis.errors import translate
from gateway.web.rest.answer_store import AnswerStore
from gateway.web.rest.problems import RequestRefusedError

HEADER: Final = "idempotency-key"
KEY_LENGTH_MAX: Final = 128
KEPT_SECONDS: Final = 86_400.0
# Longer than a request may take: whoever began it has died.
ABANDONED_SECONDS: Final = 60.0
ANSWER_BYTES_MAX: Final = 262_144
PRUNE_SECONDS: Final = 600.0
PRUNE_COUNT_MAX: Final = 1_000

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a request was answered that ended well."""

    body: bytes
    # What may be kept of it: a secret is shown once.
    kept: bytes = field(repr=False)
    # Which version it is of. None: of none, or it was given before.
    tag: str | None = None
    replayed: bool = False


class Repeats:
    """Keeps answers for a day, in the gateways' database."""

    def __init__(self, store: AnswerStore) -> None:
        self._store = store

    async def run(
        self, who: str, key: str, asked: bytes, answer: Callable[[], Awaitable[Answer]]
    ) -> Answer:
        """Returns what `answer` gives, or gave before. Raises RequestRefusedError, ServiceError.

        `who` is what the caller showed; `asked` is all of the request that matters.
        """
        if not (0 < len(key) <= KEY_LENGTH_MAX and key.isascii() and key.isprintable()):
            raise RequestRefusedError(
                HTTPStatus.BAD_REQUEST,
                "INVALID_HEADER",
                f"`{HEADER}` must be 1 to {KEY_LENGTH_MAX} printable ASCII characters",
            )
        digest, request_digest = _digest(f"{who}\0{key}".encode()), _digest(asked)
        try:
            begun = await self._store.begin_http_request(
                digest,
                request_digest,
                kept_seconds=KEPT_SECONDS,
                abandoned_seconds=ABANDONED_SECONDS,
            )
            if begun is None:
                return await self._find(digest, request_digest)
        except RequestRefusedError:
            raise
        except Exception as error:
            raise translate(error) from error
        return await self._begin(digest, begun, answer)

    async def keep_small(self) -> None:
        """Removes old answers until cancelled."""
        while True:
            await asyncio.sleep(PRUNE_SECONDS)
            try:
                await self.prune()
            except Exception as error:  # noqa: BLE001 - the next round removes them
                log.warning("answers_not_pruned", reason=translate(error).reason)

    async def prune(self) -> None:
        """Removes the answers that are too old."""
        removed = PRUNE_COUNT_MAX
        while removed == PRUNE_COUNT_MAX:
            removed = await self._store.prune_http_answers(
                kept_seconds=KEPT_SECONDS, count_max=PRUNE_COUNT_MAX
            )

    async def _find(self, digest: bytes, request_digest: bytes) -> Answer:
        known = await self._store.fetch_http_answer(digest)
        if known is not None and known["request_digest"] != request_digest:
            raise RequestRefusedError(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "KEY_REUSED",
                f"another request had this `{HEADER}`: use a new one for each request",
            )
        if known is None or known["answer"] is None:
            raise RequestRefusedError(
                HTTPStatus.CONFLICT,
                "REQUEST_UNDER_WAY",
                f"a request with this `{HEADER}` is under way: ask again in a moment",
            )
        return Answer(body=known["answer"], kept=known["answer"], replayed=True)

    async def _begin(
        self, digest: bytes, begun: dt.datetime, answer: Callable[[], Awaitable[Answer]]
    ) -> Answer:
        answered = None
        try:
            answered = await answer()
        finally:
            # Shielded: a client that goes away must not leave the key under way.
            await asyncio.shield(self._end(digest, begun, answered))
        return answered

    async def _end(self, digest: bytes, begun: dt.datetime, answered: Answer | None) -> None:
        try:
            if answered is None or len(answered.kept) > ANSWER_BYTES_MAX:
                await self._store.forget_http_request(digest, begun)
            else:
                await self._store.end_http_request(digest, begun, answered.kept)
        except Exception as error:  # noqa: BLE001 - the change is done; who repeats waits a minute
            log.warning("answer_not_kept", reason=translate(error).reason)


def _digest(text: bytes) -> bytes:
    return hashlib.sha256(text).digest()
