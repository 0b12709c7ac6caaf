"""Postgres connections with every timeout explicit, and what their errors mean."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import unquote, urlsplit

import aiosql
import asyncpg
from aiosql.queries import Queries
from asyncpg.pool import PoolConnectionProxy
from pydantic import SecretStr

STATEMENT_TIMEOUT_MS: Final = 5_000
LOCK_TIMEOUT_MS: Final = 2_000
# Short, because row locks are held while a decision is made: a paused client must not hold them.
IDLE_IN_TRANSACTION_TIMEOUT_MS: Final = 1_000
CONNECT_TIMEOUT_SECONDS: Final = 5.0
STATEMENT_CACHE_SIZE: Final = 256
# How long a starting process waits for its database.
START_PATIENCE_SECONDS: Final = 30.0
_RECONNECT_SECONDS: Final = 0.25
# The client gives up this long after the server should have.
_CLIENT_MARGIN_SECONDS: Final = 1.0
# An idle pooled connection is closed after this, so that a failover's leftovers go away.
_IDLE_LIFETIME_SECONDS: Final = 300.0

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

# Class 40 is rolled back and safe to repeat; 08 and 57P0x end the connection; 25P03 ended it.
_RETRYABLE: Final = frozenset(
    {"40001", "40P01", "57P01", "57P02", "57P03", "57P05", "25P03", "25006"}
)
# Lock timeout, statement timeout, too many connections: waiting helps, repeating at once does not.
_BUSY: Final = frozenset({"55P03", "57014", "53300", "53400"})


@asynccontextmanager
async def changing(
    pool: Pool, *, keep: bool
) -> AsyncIterator[PoolConnectionProxy[asyncpg.Record]]:
    """A transaction on a pooled connection. Unless `keep`, it is rolled back in the end: whoever
    comes so far has found out that all of it could be done.
    """
    async with pool.acquire() as connection:
        transaction = connection.transaction(isolation="read_committed")
        await transaction.start()
        try:
            yield connection
        except BaseException:
            await transaction.rollback()
            raise
        await (transaction.commit() if keep else transaction.rollback())


class ConnectError(Exception):
    """The database cannot be reached, or refuses. One line: where, and what it said."""


async def open_pool(
    url: str | SecretStr,
    *,
    application_name: str,
    schema: str,
    size: int,
    statement_timeout_ms: int = STATEMENT_TIMEOUT_MS,
    lock_timeout_ms: int = LOCK_TIMEOUT_MS,
    idle_in_transaction_timeout_ms: int = IDLE_IN_TRANSACTION_TIMEOUT_MS,
    connect_timeout_seconds: float = CONNECT_TIMEOUT_SECONDS,
    statement_cache_size: int = STATEMENT_CACHE_SIZE,
) -> Pool:
    """Opens a pool of at most `size` connections whose search path is the schema alone.

    A statement cache of 0 means that a transaction pooler stands between: then nothing is set at
    connection start (poolers refuse it) and the role's own settings apply.

    Sessions are not reset between uses, which would cost a round trip each time: whoever borrows
    a connection sets, locks and listens within transactions only, or opens one of its own.
    """
    return await asyncpg.create_pool(
        _reveal(url),
        min_size=min(1, size),
        max_size=size,
        max_inactive_connection_lifetime=_IDLE_LIFETIME_SECONDS,
        timeout=connect_timeout_seconds,
        command_timeout=statement_timeout_ms / 1000 + _CLIENT_MARGIN_SECONDS,
        statement_cache_size=statement_cache_size,
        reset=_keep_session,
        server_settings=_server_settings(
            application_name=application_name,
            schema=schema,
            statement_timeout_ms=statement_timeout_ms,
            lock_timeout_ms=lock_timeout_ms,
            idle_in_transaction_timeout_ms=idle_in_transaction_timeout_ms,
            behind_pooler=statement_cache_size == 0,
        ),
    )


async def connect(
    url: str | SecretStr,
    *,
    application_name: str,
    schema: str,
    statement_timeout_ms: int = STATEMENT_TIMEOUT_MS,
    lock_timeout_ms: int = LOCK_TIMEOUT_MS,
    idle_in_transaction_timeout_ms: int = IDLE_IN_TRANSACTION_TIMEOUT_MS,
    connect_timeout_seconds: float = CONNECT_TIMEOUT_SECONDS,
    statement_cache_size: int = STATEMENT_CACHE_SIZE,
) -> Connection:
    """Opens one connection of the caller's own, set up like the pool's. A timeout of 0 is none."""
    command_timeout = statement_timeout_ms / 1000 + _CLIENT_MARGIN_SECONDS
    return await asyncpg.connect(
        _reveal(url),
        timeout=connect_timeout_seconds,
        command_timeout=command_timeout if statement_timeout_ms else None,
        statement_cache_size=statement_cache_size,
        server_settings=_server_settings(
            application_name=application_name,
            schema=schema,
            statement_timeout_ms=statement_timeout_ms,
            lock_timeout_ms=lock_timeout_ms,
            idle_in_transaction_timeout_ms=idle_in_transaction_timeout_ms,
            behind_pooler=statement_cache_size == 0,
        ),
    )


async def connect_patiently(
    url: str | SecretStr,
    *,
    application_name: str,
    schema: str,
    patience_seconds: float = START_PATIENCE_SECONDS,
    statement_timeout_ms: int = STATEMENT_TIMEOUT_MS,
    lock_timeout_ms: int = LOCK_TIMEOUT_MS,
    idle_in_transaction_timeout_ms: int = IDLE_IN_TRANSACTION_TIMEOUT_MS,
) -> Connection:
    """Connects as `connect` does, but waits for a database that is starting or failing over.

    Raises ConnectError when it stays away, and at once when it refuses.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + patience_seconds
    while True:
        try:
            return await connect(
                url,
                application_name=application_name,
                schema=schema,
                statement_timeout_ms=statement_timeout_ms,
                lock_timeout_ms=lock_timeout_ms,
                idle_in_transaction_timeout_ms=idle_in_transaction_timeout_ms,
            )
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            if not is_unavailable(error) or loop.time() >= until:
                # The URL holds a password; its host and name say enough.
                parts = urlsplit(_reveal(url))
                place = f"{parts.hostname}:{parts.port or 5432}{parts.path}"
                text = str(error) or type(error).__name__
                raise ConnectError(f"cannot connect to {place}: {text}") from error
        await asyncio.sleep(_RECONNECT_SECONDS)


def load_queries(path: Path) -> Queries:
    """Loads named queries; `queries.reserve.sql` is the text to hand to a connection."""
    queries: Queries = aiosql.from_path(
        path, "asyncpg", kwargs_only=False, mandatory_parameters=False
    )
    return queries


def is_data_error(error: BaseException) -> bool:
    """Says whether the values are to blame (SQLSTATE 22, 23): only then bisecting helps."""
    if not isinstance(error, asyncpg.PostgresError):
        return isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError)
    return (error.sqlstate or "")[:2] in {"22", "23"}


def is_retryable(error: BaseException) -> bool:
    """Says whether the same transaction may pass if it is repeated at once, with the same ids.

    After a lost connection nobody knows whether the commit happened: only the ids make it safe.
    """
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        return state in _RETRYABLE or state.startswith("08")
    return _is_connection_lost(error)


def is_unavailable(error: BaseException) -> bool:
    """Says whether the database could not be asked or had no time: the caller should come back."""
    if isinstance(error, asyncpg.PostgresError) and error.sqlstate in _BUSY:
        return True
    return is_retryable(error) or isinstance(error, TimeoutError)


def password_of(url: str | SecretStr) -> str:
    """Returns the password that stands in a database URL, or an empty text."""
    return unquote(urlsplit(_reveal(url)).password or "")


def _is_connection_lost(error: BaseException) -> bool:
    if isinstance(error, asyncpg.InterfaceError):
        # The driver has one class for "closed" and for wrong use; only the text tells them apart.
        return "closed" in str(error) or "closing" in str(error)
    # The driver's own confusion: it has read half of how the server ended an idle connection.
    if isinstance(error, (ConnectionError, socket.gaierror, asyncpg.InternalClientError)):
        return True
    # asyncio wraps refusals of several addresses into a bare OSError.
    return type(error) is OSError


def _server_settings(
    *,
    application_name: str,
    schema: str,
    statement_timeout_ms: int,
    lock_timeout_ms: int,
    idle_in_transaction_timeout_ms: int,
    behind_pooler: bool,
) -> dict[str, str]:
    if behind_pooler:
        return {"application_name": application_name}
    return {
        "application_name": application_name,
        "search_path": schema,
        "statement_timeout": str(statement_timeout_ms),
        "lock_timeout": str(lock_timeout_ms),
        "idle_in_transaction_session_timeout": str(idle_in_transaction_timeout_ms),
        # Compiling a plan costs more than our short statements take.
        "jit": "off",
        "timezone": "UTC",
    }


async def _keep_session(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """Leaves a returned connection as it is: the driver has ended its transaction already."""


def _reveal(url: str | SecretStr) -> str:
    return url.get_secret_value() if isinstance(url, SecretStr) else url
