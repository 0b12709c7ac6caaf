"""Migrations on a real database, as the roles that run them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from chassis import database, migrations
from chassis.migrations import MigrationError, migrate, read_migrations, require_migrated
from chassis.provision import provision
from tests.postgres import ROLE_PASSWORD, Clone
from tests.schemas import owner_url, runtime_url

SCHEMA = "toy"


class Folder:
    """A folder of migrations that grows."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, name: str, sql: str) -> None:
        (self.path / name).write_text(sql)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder(tmp_path)
    made.write("0001_pre_first.sql", "CREATE TABLE first (id bigint PRIMARY KEY);")
    made.write("0002_pre_second.sql", "CREATE TABLE second (id bigint); SELECT 1;")
    return made


@pytest_asyncio.fixture
async def url(clone: Clone) -> str:
    """A database with the roles and an empty schema."""

    async def build(url: str) -> None:
        await provision(
            url, name=SCHEMA, owner_password=ROLE_PASSWORD, runtime_password=ROLE_PASSWORD
        )

    return await clone("toy_empty", build)


@pytest_asyncio.fixture
async def admin(url: str) -> AsyncIterator[database.Connection]:
    connection = await database.connect(url, application_name="tests", schema=SCHEMA)
    yield connection
    await connection.close()


async def run(url: str, folder: Folder, *, pre_only: bool = False) -> list[str]:
    return await migrate(
        owner_url(url, SCHEMA), schema=SCHEMA, directory=folder.path, pre_only=pre_only
    )


async def check(url: str, folder: Folder) -> None:
    await require_migrated(runtime_url(url, SCHEMA), schema=SCHEMA, directory=folder.path)


async def tables(admin: database.Connection) -> set[str]:
    rows = await admin.fetch("SELECT tablename FROM pg_tables WHERE schemaname = $1", SCHEMA)
    return {row[0] for row in rows} - {"schema_migration"}


async def test_each_file_is_applied_once(
    url: str, folder: Folder, admin: database.Connection
) -> None:
    first = await run(url, folder)
    again = await run(url, folder)
    folder.write("0003_post_third.sql", "DROP TABLE first")

    assert first == ["0001_pre_first.sql", "0002_pre_second.sql"]
    assert again == []
    assert await run(url, folder) == ["0003_post_third.sql"]
    assert await tables(admin) == {"second"}


async def test_post_files_wait_when_asked_and_hold_up_no_later_pre_file(
    url: str, folder: Folder
) -> None:
    folder.write("0003_post_third.sql", "DROP TABLE first")
    folder.write("0004_pre_fourth.sql", "CREATE TABLE fourth (id bigint)")

    first = ["0001_pre_first.sql", "0002_pre_second.sql", "0004_pre_fourth.sql"]
    assert await run(url, folder, pre_only=True) == first
    assert await run(url, folder, pre_only=True) == []
    await check(url, folder)
    assert await run(url, folder) == ["0003_post_third.sql"]
    assert await run(url, folder) == []


async def test_two_at_once_apply_each_file_once(
    url: str, folder: Folder, admin: database.Connection
) -> None:
    folder.write("0003_pre_slow.sql", "SELECT pg_sleep(0.1)")
    applied = await asyncio.gather(*(run(url, folder) for _ in range(4)))

    assert sorted(applied, key=len)[:3] == [[], [], []]
    assert len(max(applied, key=len)) == 3
    assert await admin.fetchval("SELECT count(*) FROM schema_migration") == 3


async def test_an_edited_file_is_refused_and_nothing_is_applied(
    url: str, folder: Folder, admin: database.Connection
) -> None:
    await run(url, folder)
    folder.write("0001_pre_first.sql", "CREATE TABLE other (id bigint);")
    folder.write("0003_pre_third.sql", "CREATE TABLE third (id bigint)")
    with pytest.raises(MigrationError, match=r"^0001_pre_first\.sql was edited .* restore it"):
        await run(url, folder)

    assert await tables(admin) == {"first", "second"}
    with pytest.raises(MigrationError, match=r"^0001_pre_first\.sql was edited"):
        await check(url, folder)


async def test_a_history_of_another_version_is_refused(url: str, folder: Folder) -> None:
    await run(url, folder)
    (folder.path / "0002_pre_second.sql").unlink()
    with pytest.raises(MigrationError, match=r"0002_pre_second\.sql was applied, but this"):
        await run(url, folder)

    # Servers of the last release run on it all the same.
    await check(url, folder)


async def test_a_file_that_comes_too_late_is_refused(url: str, folder: Folder) -> None:
    folder.write("0004_pre_fourth.sql", "CREATE TABLE fourth (id bigint)")
    await run(url, folder)
    folder.write("0003_pre_third.sql", "CREATE TABLE third (id bigint)")

    with pytest.raises(MigrationError, match=r"0003_pre_third\.sql is missing, but the later"):
        await run(url, folder)


async def test_a_file_that_fails_leaves_nothing_and_those_before_it_stay(
    url: str, folder: Folder, admin: database.Connection
) -> None:
    folder.write("0003_pre_third.sql", "CREATE TABLE third (id bigint); SELECT 1 / 0;")
    with pytest.raises(MigrationError, match=r"^0003_pre_third\.sql: division by zero$"):
        await run(url, folder)

    assert await tables(admin) == {"first", "second"}

    folder.write("0003_pre_third.sql", "CREATE TABLE third (id bigint)")
    assert await run(url, folder) == ["0003_pre_third.sql"]


async def test_an_interrupted_one_is_finished_by_the_next(
    url: str, folder: Folder, admin: database.Connection
) -> None:
    folder.write(
        "0003_pre_third.sql",
        "CREATE TABLE third (id bigint); SELECT pg_terminate_backend(pg_backend_pid())",
    )
    with pytest.raises(MigrationError, match="run migrate again"):
        await run(url, folder)

    assert await tables(admin) == {"first", "second"}

    folder.write("0003_pre_third.sql", "CREATE TABLE third (id bigint)")
    assert await run(url, folder) == ["0003_pre_third.sql"]


async def test_a_lock_that_servers_hold_is_waited_for_without_queueing_them(
    url: str, folder: Folder, admin: database.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "LOCK_TIMEOUT_MS", 20)
    monkeypatch.setattr(migrations, "LOCK_RETRY_SECONDS", 0.01)
    await run(url, folder)
    folder.write("0003_pre_third.sql", "ALTER TABLE first ADD COLUMN name text")
    reading = admin.transaction()
    await reading.start()
    await admin.execute("LOCK TABLE first IN ACCESS SHARE MODE")
    migrating = asyncio.create_task(run(url, folder))
    # Whoever comes later is held up for no longer than one attempt.
    other = await database.connect(url, application_name="tests", schema=SCHEMA)
    for _ in range(3):
        await other.execute("SELECT count(*) FROM first")
    await other.close()
    await reading.rollback()

    assert await migrating == ["0003_pre_third.sql"]


async def test_a_lock_that_is_never_released_ends_it_with_one_line(
    url: str, folder: Folder, admin: database.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "LOCK_TIMEOUT_MS", 10)
    monkeypatch.setattr(migrations, "LOCK_RETRY_SECONDS", 0.0)
    monkeypatch.setattr(migrations, "LOCK_ATTEMPT_COUNT_MAX", 2)
    await run(url, folder)
    folder.write("0003_pre_third.sql", "ALTER TABLE first ADD COLUMN name text")
    async with admin.transaction():
        await admin.execute("LOCK TABLE first IN ACCESS SHARE MODE")
        with pytest.raises(MigrationError, match="lock timeout"):
            await run(url, folder)


async def test_the_runtime_role_uses_new_tables_and_cannot_touch_the_history(
    url: str, folder: Folder
) -> None:
    await run(url, folder)
    runtime = await database.connect(
        runtime_url(url, SCHEMA), application_name="tests", schema=SCHEMA
    )
    await runtime.execute("INSERT INTO first (id) VALUES (1)")
    for statement in (
        "DELETE FROM schema_migration",
        "UPDATE schema_migration SET sha256 = ''",
        "INSERT INTO schema_migration (name, sha256) VALUES ('x', 'x')",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await runtime.execute(statement)
    await runtime.close()


async def test_servers_want_the_schema_of_their_version(url: str, folder: Folder) -> None:
    with pytest.raises(MigrationError, match=r"lacks 0001_pre_first\.sql: run migrate first"):
        await check(url, folder)
    await run(url, folder)
    await check(url, folder)
    folder.write("0003_post_third.sql", "SELECT 1")
    # It can only run when older servers are gone, so newer ones must do without it.
    await check(url, folder)
    folder.write("0004_pre_fourth.sql", "SELECT 1")
    with pytest.raises(MigrationError, match=r"lacks 0004_pre_fourth\.sql"):
        await check(url, folder)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "no migrations in"),
        (["1_pre_x.sql"], "name it NNNN"),
        (["0001_during_x.sql"], "name it NNNN"),
        (["0001_pre_x.sql", "0001_pre_y.sql"], "have the same number"),
    ],
)
def test_names_that_are_no_order_are_refused(
    tmp_path: Path, names: list[str], message: str
) -> None:
    for name in names:
        (tmp_path / name).write_text("SELECT 1")
    with pytest.raises(MigrationError, match=message):
        read_migrations(tmp_path)
