"""Tells that prices were refused. The last good ones stay in force."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from chassis.database import Pool
from chassis.errors import InvalidArgument
from services.accounting.alerts.register import notice, resolve_condition
from services.accounting.domain.findings import describe_refused_prices

# Where prices come from.
CATALOGUE: Final = "catalogue"
IMPORT: Final = "import"


class PriceFaults:
    """An alert for each source of prices, while its last ones are refused."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def refused(self, source: str, error: str, *, count: int) -> None:
        """Raises the alert: so many prices of the source are wrong, `error` says what of one."""
        async with self._pool.acquire() as connection, connection.transaction():
            await notice(connection, describe_refused_prices(source, error, count=count))

    async def accepted(self, source: str) -> None:
        """Resolves it, if there is one."""
        async with self._pool.acquire() as connection, connection.transaction():
            await resolve_condition(connection, f"prices/{source}")

    @asynccontextmanager
    async def told(self, source: str, *, quiet: bool) -> AsyncIterator[None]:
        """Raises the alert if what is done within refuses the prices, else resolves it.

        `quiet`: somebody only tries them.
        """
        try:
            yield
        except InvalidArgument as error:
            if not quiet:
                words = f"{error.violations[0].field}: {error.violations[0].description}"
                await self.refused(source, words, count=len(error.violations))
            raise
        if not quiet:
            await self.accepted(source)
