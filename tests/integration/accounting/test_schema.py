"""The schema is what it says, and the server's role can only use it."""

from __future__ import annotations

import datetime as dt

import asyncpg
import pytest

from chassis import database
from services.accounting.partitions import ensure_partition
from services.accounting.queries import SQL
from tests.postgres import Clone
from tests.schemas import (
    assert_queries_prepare,
    assert_schema_equals_migrations,
    runtime_url,
)

FORBIDDEN = (
    "CREATE TABLE accounting.mine (a integer)",
    "CREATE TABLE accounting.usage_log_19700101 PARTITION OF accounting.usage_entry DEFAULT",
    "DROP TABLE accounting.rollup_org_day",
    "ALTER TABLE accounting.usage_entry ADD COLUMN mine integer",
    "TRUNCATE accounting.usage_entry",
    "ALTER FUNCTION accounting.ensure_partition(date, integer, integer) SECURITY INVOKER",
    "ALTER FUNCTION accounting.sum_log_day(date) RENAME TO mine",
    "UPDATE accounting.schema_migration SET sha256 = ''",
)


async def test_the_written_schema_is_what_the_migrations_make(clone: Clone) -> None:
    await assert_schema_equals_migrations(
        clone,
        "accounting",
        files=(
            "schema.sql",
            "log_schema.sql",
            "shares.sql",
            "rollups.sql",
            "functions.sql",
            "corrections.sql",
            "books_schema.sql",
            "alerts_schema.sql",
        ),
    )


@pytest.mark.parametrize(
    "file",
    [
        "queries.sql",
        "summaries.sql",
        "books.sql",
        "feedback.sql",
        "statements.sql",
        "verification.sql",
        "alerts.sql",
        "delivery.sql",
        "watch.sql",
        "forecasts.sql",
    ],
)
async def test_every_query_prepares_as_the_servers_role(database_url: str, file: str) -> None:
    await assert_queries_prepare(database_url, SQL / file)


async def connect_as_server(url: str) -> database.Connection:
    return await database.connect(
        runtime_url(url, "accounting"), application_name="tests", schema="accounting"
    )


@pytest.mark.parametrize("statement", FORBIDDEN)
async def test_the_servers_role_cannot_change_what_there_is(
    database_url: str, statement: str
) -> None:
    connection = await connect_as_server(database_url)
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)
    finally:
        await connection.close()


async def test_the_servers_role_makes_partitions_by_the_owners_function_alone(
    database_url: str, admin: database.Connection
) -> None:
    connection = await connect_as_server(database_url)
    today = dt.datetime.now(dt.UTC).date()
    try:
        assert await ensure_partition(connection, today, days_back=1, days_ahead=1)
    finally:
        await connection.close()

    owner = await admin.fetchval(
        "SELECT relowner::regrole::text FROM pg_class WHERE relname = $1::text",
        f"usage_log_{today:%Y%m%d}",
    )
    assert owner == "headgate_accounting_owner"


async def test_the_owners_function_ignores_tables_that_the_caller_puts_in_its_way(
    database_url: str, admin: database.Connection
) -> None:
    connection = await connect_as_server(database_url)
    today = dt.datetime.now(dt.UTC).date()
    try:
        # Temporary tables come first on a search path that does not say otherwise.
        await connection.execute("CREATE TEMPORARY TABLE usage_entry (admit_time timestamptz)")
        assert await ensure_partition(connection, today, days_back=1, days_ahead=1)
    finally:
        await connection.close()

    parent = await admin.fetchval(
        "SELECT inhparent::regclass::text FROM pg_inherits WHERE inhrelid = $1::text::regclass",
        f"usage_log_{today:%Y%m%d}",
    )
    assert parent == "usage_entry"
