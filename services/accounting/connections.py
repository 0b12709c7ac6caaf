"""Connections to accounting's schema, as the settings say."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chassis import database
from services.accounting.config import AccountingSettings
from services.accounting.queries import SCHEMA


@asynccontextmanager
async def open_accounting_pool(
    settings: AccountingSettings, *, name: str
) -> AsyncIterator[database.Pool]:
    """Opens the pool; closes it at the end."""
    pool = await database.open_pool(
        settings.database_url,
        application_name=name,
        schema=SCHEMA,
        size=settings.database_pool_size,
        statement_cache_size=settings.database_statement_cache_size,
    )
    async with pool:
        yield pool


async def connect(
    settings: AccountingSettings,
    *,
    name: str,
    statement_timeout_ms: int = database.STATEMENT_TIMEOUT_MS,
) -> database.Connection:
    """Opens one connection of the caller's own."""
    return await database.connect(
        settings.database_url,
        application_name=name,
        schema=SCHEMA,
        statement_timeout_ms=statement_timeout_ms,
        statement_cache_size=settings.database_statement_cache_size,
    )


@asynccontextmanager
async def open_connection(
    settings: AccountingSettings,
    *,
    name: str,
    statement_timeout_ms: int = database.STATEMENT_TIMEOUT_MS,
) -> AsyncIterator[database.Connection]:
    """Opens one connection; closes it at the end."""
    connection = await connect(settings, name=name, statement_timeout_ms=statement_timeout_ms)
    try:
        yield connection
    finally:
        await connection.close()
