"""Connections as servers open them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from asyncpg.pool import PoolConnectionProxy

from chassis import database

SETTINGS = {
    "application_name": "tests",
    "search_path": "pg_catalog",
    "statement_timeout": "1s",
    "lock_timeout": "2s",
    "idle_in_transaction_session_timeout": "3s",
    "TimeZone": "UTC",
    "jit": "off",
}


async def read_settings(
    connection: database.Connection | PoolConnectionProxy[asyncpg.Record],
) -> dict[str, str]:
    return {
        name: await connection.fetchval("SELECT current_setting($1::text)", name)
        for name in SETTINGS
    }


async def open_pool(url: str, **options: int) -> database.Pool:
    return await database.open_pool(
        url,
        application_name="tests",
        schema="pg_catalog",
        size=2,
        statement_timeout_ms=1000,
        lock_timeout_ms=2000,
        idle_in_transaction_timeout_ms=3000,
        **options,
    )


async def test_every_wait_of_a_connection_has_a_limit(postgres_url: str) -> None:
    async with await open_pool(postgres_url) as pool, pool.acquire() as connection:
        assert await read_settings(connection) == SETTINGS


async def test_behind_a_pooler_nothing_is_set_at_the_start(postgres_url: str) -> None:
    async with (
        await open_pool(postgres_url, statement_cache_size=0) as pool,
        pool.acquire() as connection,
    ):
        settings = await read_settings(connection)

    assert settings["application_name"] == "tests"
    assert settings["statement_timeout"] == "0"


async def test_a_statement_that_takes_too_long_is_ended_by_the_server(postgres_url: str) -> None:
    connection = await database.connect(
        postgres_url, application_name="tests", schema="pg_catalog", statement_timeout_ms=20
    )
    with pytest.raises(asyncpg.QueryCanceledError) as caught:
        await connection.execute("SELECT pg_sleep(10)")
    await connection.close()

    assert database.is_unavailable(caught.value)


async def test_a_connection_without_a_limit_takes_its_time(postgres_url: str) -> None:
    connection = await database.connect(
        postgres_url, application_name="tests", schema="pg_catalog", statement_timeout_ms=0
    )
    settings = await read_settings(connection)
    await connection.close()

    assert settings["statement_timeout"] == "0"


async def test_a_lost_connection_may_be_repeated(postgres_url: str) -> None:
    connection = await database.connect(
        postgres_url, application_name="tests", schema="pg_catalog"
    )
    pid = await connection.fetchval("SELECT pg_backend_pid()")
    waiting = asyncio.create_task(connection.execute("SELECT pg_sleep(4)"))
    other = await asyncpg.connect(postgres_url)
    active = "SELECT state = 'active' FROM pg_stat_activity WHERE pid = $1"
    while not await other.fetchval(active, pid):
        continue
    await other.execute("SELECT pg_terminate_backend($1)", pid)
    await other.close()
    with pytest.raises(asyncpg.PostgresError) as caught:
        await waiting
    with pytest.raises(asyncpg.InterfaceError) as closed:
        await connection.execute("SELECT 1")

    assert database.is_retryable(caught.value)
    assert database.is_retryable(closed.value)


async def test_values_that_do_not_fit_are_the_callers_fault(postgres_url: str) -> None:
    connection = await database.connect(
        postgres_url, application_name="tests", schema="pg_catalog"
    )
    for value in (2**70, "text"):
        with pytest.raises(asyncpg.DataError) as caught:
            await connection.fetchval("SELECT $1::bigint", value)
        assert database.is_data_error(caught.value)
    await connection.close()


async def test_a_starting_database_is_waited_for(
    postgres_url: str, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes up at the second look: until then a proxy's port refuses."""
    monkeypatch.setattr(database, "_RECONNECT_SECONDS", 0.01)
    host, _, port = postgres_url.rpartition("@")[2].partition("/")[0].rpartition(":")
    refused = asyncio.Event()
    opened = database.connect

    async def connect(*arguments: object, **options: object) -> database.Connection:
        try:
            return await opened(*arguments, **options)  # type: ignore[arg-type]
        except OSError:
            refused.set()
            raise

    monkeypatch.setattr(database, "connect", connect)
    away = postgres_url.replace(f"{host}:{port}", f"127.0.0.1:{unused_tcp_port}")
    connecting = asyncio.create_task(
        database.connect_patiently(away, application_name="tests", schema="pg_catalog")
    )
    await refused.wait()
    async with await asyncio.start_server(
        lambda reader, writer: forward(reader, writer, host, int(port)),
        "127.0.0.1",
        unused_tcp_port,
    ):
        connection = await connecting
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()


async def forward(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int
) -> None:
    there, back = await asyncio.open_connection(host, port)

    async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65_536):
            sink.write(data)
        sink.close()

    await asyncio.gather(copy(reader, back), copy(there, writer))


def test_queries_are_loaded_by_their_names(tmp_path: Path) -> None:
    path = tmp_path / "queries.sql"
    path.write_text("-- name: count_toys^\n-- Counts.\nSELECT count(*) FROM toy WHERE id = $1;\n")

    query: Any = getattr(database.load_queries(path), "count_toys")  # noqa: B009 - made at run time
    assert "SELECT count(*) FROM toy WHERE id = $1" in query.sql
