"""What the two roles of a service may do, and what not."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence

import asyncpg
import pytest
import pytest_asyncio

from chassis import database
from chassis.migrations import migrate
from chassis.provision import ProvisionError, owner_role, provision, runtime_role
from tests.integration.chassis.commands import build
from tests.integration.chassis.toy import MIGRATIONS
from tests.postgres import ROLE_PASSWORD, Clone, roles_locked, with_user
from tests.schemas import owner_url, runtime_url

# What a runtime role may not do.
FORBIDDEN = (
    "SELECT * FROM neighbour.toy",
    "INSERT INTO neighbour.toy (name) VALUES ('x')",
    "SELECT neighbour.count_toys()",
    "SELECT nextval('neighbour.toy_toy_id_seq')",
    "CREATE TABLE toy.mine (id bigint)",
    "CREATE TABLE public.mine (id bigint)",
    "CREATE SCHEMA mine",
    "DROP TABLE toy.toy",
    "DROP SCHEMA toy CASCADE",
    "ALTER TABLE toy.toy ADD COLUMN mine text",
    "ALTER FUNCTION toy.count_toys() SECURITY DEFINER",
    "TRUNCATE toy.toy",
    "CREATE ROLE mine",
    "SET ROLE headgate_toy_owner",
    "SET ROLE headgate_neighbour",
    "SELECT setval('toy.toy_toy_id_seq', 1)",
    "COPY toy.toy TO PROGRAM 'true'",
)
# What nobody but the admin may do.
FORBIDDEN_TO_ALL = (
    "CREATE TEMPORARY TABLE mine (id bigint)",
    "CREATE TABLE public.mine (id bigint)",
    "CREATE SCHEMA mine",
)


@pytest_asyncio.fixture
async def url(clone: Clone) -> str:
    return await clone("toy_neighbours", build)


@pytest_asyncio.fixture
async def runtime(url: str) -> AsyncIterator[database.Connection]:
    connection = await asyncpg.connect(runtime_url(url, "toy"))
    yield connection
    await connection.close()


async def test_the_runtime_role_reads_and_writes_its_own_rows(
    runtime: database.Connection,
) -> None:
    await runtime.execute("INSERT INTO toy (name) VALUES ('ball')")
    await runtime.execute("UPDATE toy SET name = 'car'")

    assert await runtime.fetchval("SELECT name FROM toy") == "car"
    assert await runtime.fetchval("SELECT count_toys()") == 1

    await runtime.execute("DELETE FROM toy")
    assert await runtime.fetchval("SELECT count_toys()") == 0


async def test_the_runtime_role_may_do_nothing_else(runtime: database.Connection) -> None:
    assert await allowed(runtime, FORBIDDEN) == []


async def test_nobody_but_the_admin_makes_things_outside_of_the_schemas(
    fresh_database: str,
) -> None:
    # Not a clone: those do not take over the privileges on the database itself.
    async with roles_locked(fresh_database):
        await build(fresh_database)
    for url in (runtime_url(fresh_database, "toy"), owner_url(fresh_database, "toy")):
        connection = await asyncpg.connect(url)
        assert await allowed(connection, FORBIDDEN_TO_ALL) == []
        await connection.close()


async def test_functions_are_not_everybodys(url: str) -> None:
    admin = await asyncpg.connect(url)
    granted = await admin.fetchval(
        "SELECT array_agg(grantee::regrole::text) FROM pg_proc, aclexplode(proacl)"
        " WHERE oid = 'toy.count_toys'::regproc"
    )
    await admin.close()

    assert sorted(granted) == [runtime_role("toy"), owner_role("toy")]


async def test_the_owner_cannot_touch_another_schema(url: str) -> None:
    owner = await asyncpg.connect(owner_url(url, "toy"))
    try:
        await owner.execute("CREATE TABLE mine (id bigint)")
        others = (
            "SELECT * FROM neighbour.toy",
            "DROP TABLE neighbour.toy",
            "CREATE TABLE neighbour.mine (id bigint)",
            "CREATE TABLE public.mine (id bigint)",
            "CREATE SCHEMA mine",
            "SET ROLE headgate_neighbour_owner",
        )
        assert await allowed(owner, others) == []
    finally:
        await owner.close()


async def test_connections_without_settings_of_their_own_get_the_roles(
    runtime: database.Connection,
) -> None:
    settings = {
        name: await runtime.fetchval("SELECT current_setting($1::text)", name)
        for name in (
            "search_path",
            "statement_timeout",
            "lock_timeout",
            "idle_in_transaction_session_timeout",
        )
    }

    assert settings == {
        "search_path": "toy",
        "statement_timeout": "5s",
        "lock_timeout": "2s",
        "idle_in_transaction_session_timeout": "1s",
    }


async def test_it_may_be_repeated_and_sets_new_passwords(
    url: str, runtime: database.Connection
) -> None:
    await runtime.execute("INSERT INTO toy (name) VALUES ('ball')")
    odd = 'it\'s "quoted" \\ 100% @ / : ? $$'
    async with roles_locked(url):
        try:
            await provision(url, name="toy", owner_password=odd, runtime_password=odd + "2")
            owner = await asyncpg.connect(with_user(url, owner_role("toy"), odd))
            await owner.close()
            again = await asyncpg.connect(with_user(url, runtime_role("toy"), odd + "2"))
            count = await again.fetchval("SELECT count_toys()")
            await again.close()
            with pytest.raises(asyncpg.InvalidPasswordError):
                await asyncpg.connect(runtime_url(url, "toy"))
        finally:
            await build(url)

    # The connection that was open before has lived through it.
    assert count == await runtime.fetchval("SELECT count_toys()") == 1


async def test_services_may_be_provisioned_at_once(fresh_database: str) -> None:
    names = [f"x{number}_{secrets.token_hex(3)}" for number in range(4)]
    async with roles_locked(fresh_database):
        try:
            await asyncio.gather(
                *(
                    provision(
                        fresh_database,
                        name=name,
                        owner_password=ROLE_PASSWORD,
                        runtime_password=ROLE_PASSWORD,
                    )
                    for name in names
                )
            )
            admin = await asyncpg.connect(fresh_database)
            found = await admin.fetchval(
                "SELECT count(*) FROM pg_namespace WHERE nspname = ANY($1::text[])", names
            )
            await admin.close()
        finally:
            await drop_roles(fresh_database, *names)

    assert found == len(names)


async def test_an_admin_that_is_no_superuser_is_enough(fresh_database: str) -> None:
    name, deputy = f"x_{secrets.token_hex(3)}", f"deputy_{secrets.token_hex(3)}"
    admin = await asyncpg.connect(fresh_database)
    database_name = await admin.fetchval("SELECT current_database()")
    async with roles_locked(fresh_database):
        try:
            await admin.execute(
                f"CREATE ROLE {deputy} LOGIN CREATEROLE PASSWORD '{ROLE_PASSWORD}'"
            )
            await admin.execute(f'ALTER DATABASE "{database_name}" OWNER TO {deputy}')
            url = with_user(fresh_database, deputy)
            for _ in range(2):
                await provision(
                    url, name=name, owner_password=ROLE_PASSWORD, runtime_password=ROLE_PASSWORD
                )
            applied = await migrate(
                owner_url(fresh_database, name), schema=name, directory=MIGRATIONS
            )
            runtime = await asyncpg.connect(runtime_url(fresh_database, name))
            count = await runtime.fetchval("SELECT count_toys()")
            await runtime.close()
        finally:
            await admin.execute(f'ALTER DATABASE "{database_name}" OWNER TO CURRENT_USER')
            await drop_roles(fresh_database, name)
            await admin.execute(f"DROP OWNED BY {deputy}")
            await admin.execute(f"DROP ROLE {deputy}")
            await admin.close()

    assert (applied, count) == (["0001_pre_toys.sql"], 0)


async def test_a_role_that_may_too_much_already_is_refused(fresh_database: str) -> None:
    name = f"x_{secrets.token_hex(3)}"
    admin = await asyncpg.connect(fresh_database)
    async with roles_locked(fresh_database):
        await admin.execute(f"CREATE ROLE {owner_role(name)} CREATEDB")
        try:
            with pytest.raises(ProvisionError, match=f"role {owner_role(name)} exists and may"):
                await provision(
                    fresh_database, name=name, owner_password="secret", runtime_password="secret"
                )
        finally:
            await admin.execute(f"DROP ROLE {owner_role(name)}")
    schemas = await admin.fetchval("SELECT count(*) FROM pg_namespace WHERE nspname = $1", name)
    await admin.close()

    assert schemas == 0


async def test_a_role_that_may_not_provision_gets_one_line(url: str) -> None:
    with pytest.raises(ProvisionError, match=r"^cannot provision toy: permission denied"):
        await provision(
            runtime_url(url, "toy"),
            name="toy",
            owner_password=ROLE_PASSWORD,
            runtime_password=ROLE_PASSWORD,
        )


@pytest.mark.parametrize("password", ["", "pässword", "two\nlines"])
async def test_passwords_that_clients_would_disagree_about_are_refused(
    postgres_url: str, password: str
) -> None:
    with pytest.raises(ProvisionError, match="printable ASCII"):
        await provision(
            postgres_url, name="toy", owner_password=ROLE_PASSWORD, runtime_password=password
        )


async def drop_roles(url: str, *names: str) -> None:
    admin = await asyncpg.connect(url)
    for name in names:
        for role in (runtime_role(name), owner_role(name)):
            await admin.execute(f"DROP OWNED BY {role} CASCADE")
            await admin.execute(f"DROP ROLE {role}")
    await admin.close()


async def allowed(connection: database.Connection, statements: Sequence[str]) -> list[str]:
    """Returns the statements that were not refused for want of a privilege."""
    done: list[str] = []
    for statement in statements:
        try:
            await connection.execute(statement)
            done.append(statement)
        except asyncpg.InsufficientPrivilegeError:
            continue
    return done
