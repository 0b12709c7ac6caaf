from __future__ import annotations

import socket

import asyncpg
import pytest
from pydantic import SecretStr

from chassis import database


@pytest.mark.parametrize(
    ("error", "is_data", "is_retryable", "is_unavailable"),
    [
        (asyncpg.UniqueViolationError("x"), True, False, False),
        (asyncpg.NumericValueOutOfRangeError("x"), True, False, False),
        (asyncpg.DataError("x"), True, False, False),
        (asyncpg.InterfaceError("wrong use"), False, False, False),
        (asyncpg.InterfaceError("connection is closed"), False, True, True),
        (asyncpg.InterfaceError("pool is closing"), False, True, True),
        (asyncpg.SerializationError("x"), False, True, True),
        (asyncpg.DeadlockDetectedError("x"), False, True, True),
        (asyncpg.AdminShutdownError("x"), False, True, True),
        (asyncpg.CannotConnectNowError("x"), False, True, True),
        (asyncpg.ConnectionDoesNotExistError("x"), False, True, True),
        (asyncpg.IdleInTransactionSessionTimeoutError("x"), False, True, True),
        (asyncpg.ReadOnlySQLTransactionError("x"), False, True, True),
        (asyncpg.LockNotAvailableError("x"), False, False, True),
        (asyncpg.QueryCanceledError("x"), False, False, True),
        (asyncpg.TooManyConnectionsError("x"), False, False, True),
        (asyncpg.UndefinedTableError("x"), False, False, False),
        (ConnectionResetError("x"), False, True, True),
        (socket.gaierror("x"), False, True, True),
        (OSError("Multiple exceptions: refused, refused"), False, True, True),
        (FileNotFoundError("x"), False, False, False),
        (TimeoutError(), False, False, True),
        (KeyError("x"), False, False, False),
    ],
)
def test_an_error_says_what_helps(
    error: BaseException, is_data: bool, is_retryable: bool, is_unavailable: bool
) -> None:
    assert database.is_data_error(error) is is_data
    assert database.is_retryable(error) is is_retryable
    assert database.is_unavailable(error) is is_unavailable


@pytest.mark.parametrize(
    ("url", "password"),
    [
        ("postgresql://a:b@host/c", "b"),
        ("postgresql://a:%2F%40%25@host/c", "/@%"),
        ("postgresql://a@host/c", ""),
        ("postgresql://host/c", ""),
    ],
)
def test_a_url_tells_its_password(url: str, password: str) -> None:
    assert database.password_of(url) == password
    assert database.password_of(SecretStr(url)) == password


async def test_a_database_that_stays_away_is_one_line_without_the_password(
    unused_tcp_port: int,
) -> None:
    url = f"postgresql://me:hunter2@127.0.0.1:{unused_tcp_port}/things"
    with pytest.raises(database.ConnectError) as caught:
        await database.connect_patiently(
            url, application_name="tests", schema="x", patience_seconds=0.0
        )

    assert f"127.0.0.1:{unused_tcp_port}/things" in str(caught.value)
    assert "hunter2" not in str(caught.value)
