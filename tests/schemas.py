"""The services' schemas in test databases, made by the code that makes the real ones.

    url = await clone("admission", lambda url: build_schemas(url, "admission"))
    pool = await open_pool(runtime_url(url, "admission"), ..., schema="admission")

Roles belong to the whole server: outside of `clone`, call `build_schemas` under `roles_locked`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

import asyncpg

from chassis import database
from chassis.database import Connection
from chassis.migrations import migrate
from chassis.provision import owner_role, provision, runtime_role
from tests.postgres import CHECKOUT, ROLE_PASSWORD, Clone, with_user

# Every service's folder of SQL.
SQL: Final = {
    "admission": CHECKOUT / "services/admission/sql",
    "accounting": CHECKOUT / "services/accounting/sql",
    "health": CHECKOUT / "services/health/sql",
    "gateway": CHECKOUT / "gateway/sql",
}

# What a schema is made of, one line of text per thing, without what is named after a clock.
_FACTS: Final = """
WITH own AS (
    SELECT c.oid, c.relname, c.relkind, c.reloptions, c.relacl, c.relpersistence
    FROM pg_class AS c
    WHERE c.relnamespace = current_schema()::regnamespace
        AND c.relname NOT LIKE 'schema_migration%'
)
SELECT format('relation %s %s %s %s %s', relname, relkind, relpersistence, reloptions, relacl)
FROM own
UNION ALL
SELECT format('column %s %s %s null=%s default=%s identity=%s generated=%s collation=%s',
    own.relname, a.attname, format_type(a.atttypid, a.atttypmod), NOT a.attnotnull,
    pg_get_expr(d.adbin, d.adrelid), a.attidentity, a.attgenerated, a.attcollation::regcollation)
FROM own
INNER JOIN pg_attribute AS a ON a.attrelid = own.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef AS d ON d.adrelid = own.oid AND d.adnum = a.attnum
UNION ALL
SELECT format('constraint %s on %s %s: %s', k.conname, own.relname, t.typname,
    pg_get_constraintdef(k.oid))
FROM pg_constraint AS k
LEFT JOIN own ON own.oid = k.conrelid
LEFT JOIN pg_type AS t ON t.oid = k.contypid
WHERE k.connamespace = current_schema()::regnamespace
    AND k.conname NOT LIKE 'schema_migration%'
UNION ALL
SELECT pg_get_indexdef(oid) FROM own WHERE relkind IN ('i', 'I')
UNION ALL
SELECT format('view %s: %s', relname, pg_get_viewdef(oid)) FROM own WHERE relkind IN ('v', 'm')
UNION ALL
SELECT format('partition %s %s %s', own.relname, pg_get_partkeydef(own.oid),
    pg_get_expr(p.relpartbound, p.oid))
FROM own INNER JOIN pg_class AS p ON p.oid = own.oid
WHERE own.relkind IN ('p', 'r')
UNION ALL
SELECT format('sequence %s: %s', own.relname, to_jsonb(s) - 'seqrelid' - 'seqtypid')
FROM own INNER JOIN pg_sequence AS s ON s.seqrelid = own.oid
UNION ALL
SELECT format('%s %s', pg_get_functiondef(p.oid), p.proacl)
FROM pg_proc AS p
WHERE p.pronamespace = current_schema()::regnamespace AND p.prokind IN ('f', 'p')
UNION ALL
SELECT pg_get_triggerdef(t.oid)
FROM own INNER JOIN pg_trigger AS t ON t.tgrelid = own.oid AND NOT t.tgisinternal
UNION ALL
SELECT format('type %s %s base=%s default=%s values=%s', t.typname, t.typtype,
    format_type(t.typbasetype, t.typtypmod), t.typdefault,
    (SELECT array_agg(e.enumlabel ORDER BY e.enumsortorder) FROM pg_enum AS e
    WHERE e.enumtypid = t.oid))
FROM pg_type AS t
WHERE t.typnamespace = current_schema()::regnamespace AND t.typtype IN ('d', 'e')
"""


def owner_url(url: str, name: str) -> str:
    """The URL with the role that owns the service's schema."""
    return with_user(url, owner_role(name))


def runtime_url(url: str, name: str) -> str:
    """The URL with the role that the service runs as."""
    return with_user(url, runtime_role(name))


async def build_schemas(url: str, *names: str) -> None:
    """Provisions and migrates the services' schemas; `url` is the superuser's."""
    for name in names:
        await _provision(url, name)
        await migrate(owner_url(url, name), schema=name, directory=SQL[name] / "migrations")


async def assert_queries_prepare(url: str, path: Path, *, scripts: Collection[str] = ()) -> None:
    """Prepares each query of the file as the runtime role of the service whose folder it lies in.

    `url` is the superuser's, of a database with the schema. Queries of several statements cannot
    be prepared: those named in `scripts`, without parameters, are run and rolled back.
    """
    service = next(name for name, folder in SQL.items() if path.is_relative_to(folder))
    queries = database.load_queries(path)
    connection = await _connect(runtime_url(url, service), service)
    failed: dict[str, str] = {}

    async def run(script: str) -> None:
        await connection.execute(script)
        await connection.execute("ROLLBACK")

    try:
        for query in queries.available_queries:
            # The loader adds a twin for cursors to each query.
            if not query.endswith("_cursor"):
                check = run if query in scripts else connection.prepare
                try:
                    await check(getattr(queries, query).sql)
                except asyncpg.PostgresError as error:
                    failed[query] = str(error)
    finally:
        await connection.close()

    assert failed == {}, failed


async def assert_schema_equals_migrations(
    clone: Clone,
    name: str,
    *,
    files: Sequence[str] = ("schema.sql",),
    template: str | None = None,
) -> None:
    """Compares what the written schema makes, file by file, with what the migrations make.

    `template` replaces the service's name in those of the databases that are cloned.
    """

    async def build_migrated(url: str) -> None:
        await build_schemas(url, name)

    async def build_pre_first(url: str) -> None:
        # Post files wait for the end of old servers, whatever their numbers.
        await _provision(url, name)
        folder = SQL[name] / "migrations"
        for pre_only in (True, False):
            await migrate(owner_url(url, name), schema=name, directory=folder, pre_only=pre_only)

    async def build_written(url: str) -> None:
        await _provision(url, name)
        connection = await _connect(owner_url(url, name), name)
        try:
            for file in files:
                await connection.execute((SQL[name] / file).read_text())
        finally:
            await connection.close()

    migrated = await _read_facts(await clone(f"{template or name}_migrated", build_migrated), name)
    late = await _read_facts(await clone(f"{template or name}_late", build_pre_first), name)
    assert late == migrated, "a pre file needs an earlier post file"
    written = await _read_facts(await clone(f"{template or name}_written", build_written), name)

    assert written, "the schema holds nothing"
    for place, differences in (("written", written - migrated), ("migrated", migrated - written)):
        assert not differences, f"only in the {place} schema:\n" + "\n".join(sorted(differences))


async def _provision(url: str, name: str) -> None:
    await provision(url, name=name, owner_password=ROLE_PASSWORD, runtime_password=ROLE_PASSWORD)


async def _connect(url: str, name: str) -> Connection:
    return await database.connect(url, application_name=f"tests-{name}", schema=name)


async def _read_facts(url: str, name: str) -> set[str]:
    connection = await _connect(url, name)
    try:
        return {row[0] for row in await connection.fetch(_FACTS) if row[0] is not None}
    finally:
        await connection.close()
