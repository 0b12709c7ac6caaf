"""A governed answer that arrives bit by bit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

from headgate.call import Call
from headgate.decisions import CallOutcome
from headgate.dialects.shape import Asked, Shape, Watch
from headgate.transports.events import EventTap


class ClosedEarlyError(Exception):
    """The caller closed the stream before its end."""


class GovernedStream:
    """Passes a provider's answer on and ends its call when the answer ends, however that is."""

    def __init__(
        self, response: Any, *, call: Call, call_exit: AsyncExitStack, shape: Shape, asked: Asked
    ) -> None:
        self._response = response
        self._call = call
        self._call_exit = call_exit
        self._watch = watch = Watch()
        self._over = False

        def see(event: Any) -> bool:
            if event is None:
                watch.ended = True
                return True
            return shape.see(asked, watch, event)

        self._tap = EventTap(see)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._response.aiter_bytes():
                if passed := self._tap.feed(chunk):
                    yield passed
            if passed := self._tap.finish():
                yield passed
        except BaseException as error:
            await self._end(error)
            raise
        await self._end(None)

    async def aclose(self) -> None:
        """Closes the provider's answer; a call whose answer is not complete was aborted."""
        try:
            await self._response.aclose()
        finally:
            await self._end(ClosedEarlyError())

    async def _end(self, error: BaseException | None) -> None:
        if self._over:
            return
        self._over = True
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
