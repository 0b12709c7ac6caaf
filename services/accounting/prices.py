"""The process's copy of the price book: follows the database, never more than a poll behind."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog

from chassis.database import is_unavailable
from services.accounting.domain.pricebook import PriceBook, PriceEntry
from services.accounting.overrides import Override, PriceKey
from services.accounting.price_store import PriceStore

# A change of prices reaches every process within this.
POLL_SECONDS: Final = 1.0

log = structlog.get_logger()


class Prices:
    """Holds the newest book this process has read."""

    def __init__(self, store: PriceStore) -> None:
        self._store = store
        self._book = PriceBook()
        # One reader at a time, so that an older answer never replaces a newer one.
        self._reading = asyncio.Lock()

    async def refresh(self) -> PriceBook:
        """Reads what changed; returns the newest book. Raises what the driver raises."""
        async with self._reading:
            if await self._store.fetch_version() != self._book.version:
                version, entries = await self._store.list_changes(self._book.version)
                self._book = self._book.merge(version, entries)
            return self._book

    async def book_of(self, version: int) -> PriceBook:
        """Returns a book that knows `version`, read anew if this process lags behind it.

        If nobody has heard of the version, the newest book.
        """
        return self._book if version <= self._book.version else await self.refresh()

    async def follow(self) -> None:
        """Polls for changes until cancelled. A database that is away is asked again."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            try:
                await self.refresh()
            except Exception as error:
                if not is_unavailable(error):
                    raise
                log.warning("price_book_not_read", version=self._book.version)

    async def read_whole(self) -> PriceBook:
        """Returns the newest book with all prices that ever were: for pricing the past again."""
        version, entries = await self._store.list_changes(0, ended_too=True)
        return PriceBook().merge(version, entries)

    async def put(self, override: Override, *, audit_id: str) -> PriceEntry | None:
        """Writes an override; see `PriceStore.put_override`."""
        entry = await self._store.put_override(override, audit_id=audit_id)
        await self.refresh()
        return entry

    async def import_all(
        self, overrides: Sequence[Override], *, audit_id: str, validate_only: bool
    ) -> tuple[int, int]:
        """Writes overrides, all or none; see `PriceStore.import_overrides`."""
        found = await self._store.import_overrides(
            overrides, audit_id=audit_id, validate_only=validate_only
        )
        await self.refresh()
        return found

    async def delete(self, key: PriceKey, *, audit_id: str) -> int:
        """Ends an override; see `PriceStore.delete_override`."""
        version = await self._store.delete_override(key, audit_id=audit_id)
        await self.refresh()
        return version
