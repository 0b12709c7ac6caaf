"""A governed answer that arrives bit by bit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import Any, Final

from headgate.attempt import Attempt
from headgate.decisions import CallOutcome
from headgate.dialects.shape import Asked, Shape
from headgate.transports.events import EventTap
from headgate.usage.tiers import service_tier

_endings: Final[set[asyncio.Task[None]]] = set()


class ClosedEarlyError(Exception):
    """The caller closed the stream before its end."""


class GovernedStream:
    """Passes a provider's answer on and ends its call when the answer ends, however that is."""

    def __init__(
        self,
        response: Any,
        *,
        call: Attempt,
        call_exit: AsyncExitStack,
        shape: Shape,
        asked: Asked,
        fallback_text: str = "",
    ) -> None:
        """`fallback_text` ends an answer that the provider breaks off; empty: its error does."""
        self._response = response
        self._call = call
        self._call_exit = call_exit
        self._shape = shape
        self._asked = asked
        self._fallback_text = fallback_text
        self._watch = watch = shape.watch(asked)
        self._ending: asyncio.Task[None] | None = None

        def see(event: Mapping[str, Any] | None) -> bool:
            if event is not None:
                call.service_tier = service_tier(event) or call.service_tier
                may_pass = shape.see(asked, watch, event)
                return may_pass and not (watch.failure and self._last_words())
            watch.ended = True
            return True

        kind = str(response.headers.get("content-type", ""))
        self._tap = EventTap(see) if kind.startswith("text/event-stream") else None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        tap, chunks = self._tap, self._response.aiter_bytes()
        try:
            async for chunk in chunks:
                if passed := tap.feed(chunk) if tap else chunk:
                    yield passed
            if passed := tap.finish() if tap else b"":
                yield passed
        except GeneratorExit:
            # The reader is gone, or closes the stream next, which waits.
            self._start_ending(ClosedEarlyError())
            await chunks.aclose()
            raise
        except BaseException as error:
            await self._end(error)
            if not self._call.survivable or not self._last_words():
                raise
        else:
            await self._end(None)
        if self._call.survivable and (words := self._last_words()):
            yield words

    def _last_words(self) -> bytes | None:
        """Returns what ends an answer that was broken off, as if the provider had said it."""
        if self._tap is None or not self._fallback_text:
            return None
        return self._shape.conclude(self._asked, self._watch, f"\n\n{self._fallback_text}")

    async def aclose(self) -> None:
        """Closes the provider's answer; a call whose answer is not complete was aborted."""
        try:
            await self._response.aclose()
        finally:
            await self._end(ClosedEarlyError())

    async def _end(self, error: BaseException | None) -> None:
        # Waiting, unlike awaiting, leaves the ending alone when the waiter is cancelled.
        await asyncio.wait({self._start_ending(error)})

    def _start_ending(self, error: BaseException | None) -> asyncio.Task[None]:
        """Starts to end the call, unless that has begun."""
        if self._ending is None:
            self._ending = asyncio.get_running_loop().create_task(self._end_call(error))
            # A stream that nobody holds any more still ends its call.
            _endings.add(self._ending)
            self._ending.add_done_callback(_endings.discard)
        return self._ending

    async def _end_call(self, error: BaseException | None) -> None:
        watch = self._watch
        self._call.report_meters(**watch.meters)
        if watch.failure:
            self._call.fail(CallOutcome.PROVIDER_FAILED, error_type=watch.failure)
        elif watch.ended:
            # What comes after the end, such as a broken connection, changes nothing.
            error = None
        await self._call_exit.__aexit__(
            type(error) if error else None, error, error.__traceback__ if error else None
        )
