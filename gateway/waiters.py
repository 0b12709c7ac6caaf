"""Who waits at this gateway for what it hears of, by what they wait for."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Final, Generic, TypeVar

from chassis.errors import Overloaded

Key = TypeVar("Key", bound=Hashable)
News = TypeVar("News")

# A bound, not a target.
COUNT_MAX: Final = 10_000


class Waiters(Generic[Key, News]):
    """Futures by key, at most so many at once."""

    def __init__(self) -> None:
        self._waiting: dict[Key, set[asyncio.Future[News]]] = defaultdict(set)
        self._count = 0

    @contextmanager
    def waiting(self, key: Key) -> Iterator[asyncio.Future[News]]:
        """Gives a future that is done when the key's news are told. Raises Overloaded."""
        if self._count >= COUNT_MAX:
            raise Overloaded
        told: asyncio.Future[News] = asyncio.get_running_loop().create_future()
        self._waiting[key].add(told)
        self._count += 1
        try:
            yield told
        finally:
            self._count -= 1
            self._waiting[key].discard(told)
            if not self._waiting[key]:
                del self._waiting[key]

    def keys(self) -> list[Key]:
        """Returns what anybody waits for."""
        return list(self._waiting)

    def tell(self, key: Key, news: News | Exception) -> None:
        """Tells those who wait for the key now; an exception is raised to them."""
        for told in self._waiting.get(key, ()):
            if told.done():
                continue
            if isinstance(news, Exception):
                told.set_exception(news)
            else:
                told.set_result(news)
