"""Hears what other processes notify through Postgres, for as long as the process lives.

A notification only says that looking pays: whoever hears it reads, and a poll behind it finds what
was missed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import asyncpg
import structlog

from chassis.config import Settings
from chassis.database import Connection, connect

RECONNECT_SECONDS: Final = 1.0
# What a database that is away raises.
DATABASE_ERRORS: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)

Connect = Callable[[], Awaitable[Connection]]

log = structlog.get_logger()


def listener(settings: Settings, *, schema: str) -> Connect | None:
    """Returns what opens a connection for notifications. None behind a transaction pooler, which
    passes none on: then the poll alone finds changes.
    """
    if settings.database_statement_cache_size == 0:
        return None

    async def open_connection() -> Connection:
        name = f"headgate-{schema}-listen"
        return await connect(settings.database_url, application_name=name, schema=schema)

    return open_connection


async def follow(connect: Connect, wakes: Mapping[str, Callable[[], None]]) -> None:
    """Calls a channel's function at each of its notifications, and all of them at each connection:
    something may have been missed. All channels share the connection.

    Until cancelled; connects anew when the connection is lost.
    """
    while True:
        try:
            await _follow_once(connect, wakes)
        except DATABASE_ERRORS as error:
            log.warning("notifications_lost", channels=sorted(wakes), error=repr(error))
        await asyncio.sleep(RECONNECT_SECONDS)


async def _follow_once(connect: Connect, wakes: Mapping[str, Callable[[], None]]) -> None:
    connection = await connect()
    lost = asyncio.Event()
    try:
        connection.add_termination_listener(lambda _: lost.set())
        for channel, wake in wakes.items():
            await connection.add_listener(channel, lambda *_, wake=wake: wake())
            # Whatever was notified before the connection listened.
            wake()
        await lost.wait()
    finally:
        connection.terminate()
