"""The schema: as the migrations make it, with queries that prepare, for a role that may little."""

from __future__ import annotations

import asyncpg
import pytest

from services.admission.queries import SQL
from tests.postgres import Clone
from tests.schemas import assert_queries_prepare, assert_schema_equals_migrations, runtime_url


async def test_every_query_prepares(database_url: str) -> None:
    await assert_queries_prepare(database_url, SQL / "queries", scripts={"begin_batch"})


async def test_the_written_schema_is_what_migrations_make(clone: Clone) -> None:
    await assert_schema_equals_migrations(
        clone, "admission", files=("schema.sql", "functions.sql", "written_rows.sql")
    )


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE admission.mine (x int)",
        "DROP TABLE admission.counter",
        "TRUNCATE admission.counter",
        "ALTER TABLE admission.counter DROP CONSTRAINT counter_guarantee",
        "CREATE FUNCTION admission.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    ],
)
async def test_the_runtime_role_cannot_change_the_schema(
    database_url: str, statement: str
) -> None:
    connection = await asyncpg.connect(runtime_url(database_url, "admission"))
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute(statement)
    await connection.close()
