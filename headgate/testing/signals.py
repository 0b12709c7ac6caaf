"""Events between event loops: a fake may be driven by one and watched by another."""

from __future__ import annotations

import asyncio
import threading


class Signal:
    """Is set once, by any thread; waited for by any event loop, or by a thread without one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._event = threading.Event()
        self._waiters: dict[asyncio.Future[None], asyncio.AbstractEventLoop] = {}

    def is_set(self) -> bool:
        """Tells whether it has been set."""
        return self._event.is_set()

    def set(self) -> None:
        """Wakes all who wait; who comes later does not wait."""
        with self._lock:
            self._event.set()
            waiters = dict(self._waiters)
        for future, loop in waiters.items():
            loop.call_soon_threadsafe(_resolve, future)

    async def wait(self) -> None:
        """Returns when it is set."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        with self._lock:
            if self._event.is_set():
                return
            self._waiters[future] = loop
        try:
            await future
        finally:
            with self._lock:
                del self._waiters[future]

    def block(self, timeout_seconds: float) -> bool:
        """Waits in this thread; tells whether it was set in time."""
        return self._event.wait(timeout_seconds)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
