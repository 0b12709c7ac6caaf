from __future__ import annotations

import asyncpg
import pytest

from tests.postgres import ROLE_PASSWORD, Clone, roles_locked, with_user


async def test_fresh_database_is_empty_and_writable(fresh_database: str) -> None:
    connection = await asyncpg.connect(fresh_database)
    await connection.execute("CREATE TABLE thing (id int)")
    count = await connection.fetchval("SELECT count(*) FROM thing")
    await connection.close()

    assert count == 0


async def test_template_is_built_once_and_its_clones_do_not_share_rows(clone: Clone) -> None:
    built = []

    async def build(url: str) -> None:
        built.append(url)
        connection = await asyncpg.connect(url)
        await connection.execute("CREATE TABLE thing AS SELECT 1 AS id")
        await connection.close()

    first = await asyncpg.connect(await clone("fixture_things", build))
    second = await asyncpg.connect(await clone("fixture_things", build))
    await first.execute("DELETE FROM thing")
    count = await second.fetchval("SELECT count(*) FROM thing")
    await first.close()
    await second.close()

    assert len(built) <= 1
    assert count == 1


async def test_half_built_template_is_built_again(clone: Clone) -> None:
    async def fail(url: str) -> None:
        connection = await asyncpg.connect(url)
        await connection.execute("CREATE TABLE left_over (id int)")
        await connection.close()
        raise ZeroDivisionError

    async def build(url: str) -> None:
        connection = await asyncpg.connect(url)
        await connection.execute("CREATE TABLE thing (id int)")
        await connection.close()

    with pytest.raises(ZeroDivisionError):
        await clone("fixture_broken", fail)
    connection = await asyncpg.connect(await clone("fixture_broken", build))
    names = await connection.fetchval(
        "SELECT array_agg(tablename::text) FROM pg_tables WHERE schemaname = 'public'"
    )
    await connection.close()

    assert names == ["thing"]


async def test_role_of_a_test_logs_in_with_the_shared_password(
    postgres_url: str, fresh_database: str
) -> None:
    async with roles_locked(postgres_url):
        admin = await asyncpg.connect(postgres_url)
        await admin.execute("DROP ROLE IF EXISTS fixture_role")
        await admin.execute(f"CREATE ROLE fixture_role LOGIN PASSWORD '{ROLE_PASSWORD}'")
        connection = await asyncpg.connect(with_user(fresh_database, "fixture_role"))
        name = await connection.fetchval("SELECT current_user::text")
        await connection.close()
        await admin.execute("DROP ROLE fixture_role")
        await admin.close()

    assert name == "fixture_role"
