"""What the stores of health share: the pool, the queries' texts, transactions, the version."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from chassis.database import Pool, changing, load_queries

SQL: Final = Path(__file__).parent / "sql"
# Files of named queries.
FILES: Final = ("circuits.sql", "queries.sql", "toggles.sql", "windows.sql")

Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"


def load_sql() -> Mapping[str, str]:
    """Returns the text of each named query."""
    texts: dict[str, str] = {}
    for file in FILES:
        queries = load_queries(SQL / file)
        for name in queries.available_queries:
            if not name.endswith("_cursor"):
                texts[name] = getattr(queries, name).sql
    return texts


class Connections:
    """Runs health's queries on a pool of the runtime role. Raises what asyncpg raises."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._sql = load_sql()

    @asynccontextmanager
    async def _transaction(self, *, keep: bool = True) -> AsyncIterator[Connection]:
        async with changing(self._pool, keep=keep) as connection:
            yield connection

    async def _bump_version(self, connection: Connection) -> int:
        version: int = await connection.fetchval(self._sql["bump_version"])
        return version
