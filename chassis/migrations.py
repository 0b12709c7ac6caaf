"""Brings a schema up to this version, by plain SQL files applied in the order of their numbers.

A file is NNNN_pre_name.sql, which servers of the last release survive, or NNNN_post_name.sql,
which they do not: it runs when they are gone. A pre file needs no earlier post file to have run:
that one may wait. Each runs in a transaction of its own, once; what was applied is never edited.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg
import structlog
from pydantic import SecretStr

from chassis.database import Connection, connect_patiently, is_retryable
from chassis.provision import runtime_role

# The file's statements wait this long for a table that servers use; then they let those pass.
LOCK_TIMEOUT_MS: Final = 2_000
LOCK_ATTEMPT_COUNT_MAX: Final = 30
LOCK_RETRY_SECONDS: Final = 0.5
# Of the pause between two statements, not of a statement: a migration may take its time.
_IDLE_IN_TRANSACTION_TIMEOUT_MS: Final = 30_000
_ADVISORY_LOCK: Final = 7_400_002
_FILE_NAME: Final = re.compile(r"[0-9]{4}_(pre|post)_[a-z0-9_]+\.sql")

_CREATE_HISTORY: Final = """
CREATE TABLE IF NOT EXISTS schema_migration (
    name text PRIMARY KEY,
    sha256 text NOT NULL,
    apply_time timestamptz NOT NULL DEFAULT clock_timestamp()
)
"""
_READ_HISTORY: Final = "SELECT name, sha256 FROM schema_migration ORDER BY name"

log = structlog.get_logger()


class MigrationError(Exception):
    """The schema is not what this version needs. One line: what is wrong, the fix."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file."""

    # The file's name; its number decides the order.
    name: str
    # The statements.
    sql: str
    # Of the file's bytes, in hexadecimal.
    sha256: str

    @property
    def is_post(self) -> bool:
        """Says whether servers of the last release must be gone before it runs."""
        return self.name.split("_")[1] == "post"


def read_migrations(directory: Path) -> list[Migration]:
    """Reads a folder's migrations in order. Raises MigrationError if their names are no order."""
    migrations: list[Migration] = []
    for path in sorted(directory.glob("*.sql")):
        if _FILE_NAME.fullmatch(path.name) is None:
            raise MigrationError(f"{path.name}: name it NNNN_pre_name.sql or NNNN_post_name.sql")
        if migrations and migrations[-1].name[:4] == path.name[:4]:
            raise MigrationError(f"{migrations[-1].name} and {path.name} have the same number")
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        migrations.append(Migration(path.name, content.decode(), digest))
    if not migrations:
        raise MigrationError(f"no migrations in {directory}")
    return migrations


async def migrate(
    url: str | SecretStr, *, schema: str, directory: Path, pre_only: bool = False
) -> list[str]:
    """Applies what is missing, as the schema's owner; returns the names of the files applied.

    With `pre_only` it leaves the post files for later. Two at once are safe: the second waits.
    Raises MigrationError; then the files named in the log were applied and no other.
    """
    migrations = read_migrations(directory)
    # Neither waiting for another `migrate` nor a statement has a limit.
    connection = await connect_patiently(
        url,
        application_name=f"headgate-{schema}-migrate",
        schema=schema,
        statement_timeout_ms=0,
        lock_timeout_ms=0,
        idle_in_transaction_timeout_ms=_IDLE_IN_TRANSACTION_TIMEOUT_MS,
    )
    try:
        await connection.execute(
            "SELECT pg_advisory_lock($1::int, hashtext($2::text))", _ADVISORY_LOCK, schema
        )
        await _ensure_history(connection, schema)
        pending = _find_pending(migrations, await _read_history(connection))
        if pre_only:
            pending = [migration for migration in pending if not migration.is_post]
        for migration in pending:
            await _apply_patiently(connection, migration)
            log.info("migrated", schema=schema, name=migration.name)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        again = "; run migrate again" if is_retryable(error) else ""
        raise MigrationError(f"cannot migrate {schema}: {_one_line(error)}{again}") from error
    finally:
        await connection.close()
    return [migration.name for migration in pending]


async def require_migrated(url: str | SecretStr, *, schema: str, directory: Path) -> None:
    """Raises MigrationError unless the schema is at this version, as the runtime role sees it.

    A post file may be missing, and files of a later version may be there: servers survive both.
    """
    connection = await connect_patiently(
        url, application_name=f"headgate-{schema}-check", schema=schema
    )
    try:
        history = await _read_history(connection)
    except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
        history = {}
    finally:
        await connection.close()
    for migration in read_migrations(directory):
        applied = history.get(migration.name)
        if applied is None and not migration.is_post:
            raise MigrationError(f"schema {schema} lacks {migration.name}: run migrate first")
        if applied not in (None, migration.sha256):
            raise MigrationError(_edited(migration.name))


async def _ensure_history(connection: Connection, schema: str) -> None:
    if await connection.fetchval("SELECT to_regclass('schema_migration')") is not None:
        return
    async with connection.transaction():
        await connection.execute(_CREATE_HISTORY)
        await connection.execute(
            f'REVOKE INSERT, UPDATE, DELETE ON schema_migration FROM "{runtime_role(schema)}"'
        )


async def _read_history(connection: Connection) -> dict[str, str]:
    return {row["name"]: row["sha256"] for row in await connection.fetch(_READ_HISTORY)}


def _find_pending(migrations: Sequence[Migration], history: dict[str, str]) -> list[Migration]:
    known = {migration.name for migration in migrations}
    unknown = sorted(history.keys() - known)
    if unknown:
        raise MigrationError(
            f"{unknown[0]} was applied, but this version does not have it: "
            "use the version that does, or a later one"
        )
    pending: list[Migration] = []
    for migration in migrations:
        applied = history.get(migration.name)
        if applied is None:
            pending.append(migration)
        elif applied != migration.sha256:
            raise MigrationError(_edited(migration.name))
        elif missing := next((each for each in pending if not each.is_post), None):
            # A post file may wait for servers of an older release while later ones were applied.
            raise MigrationError(
                f"{missing.name} is missing, but the later {migration.name} was applied: "
                "give the missing one a later number"
            )
    return pending


async def _apply_patiently(connection: Connection, migration: Migration) -> None:
    for attempt in range(1, LOCK_ATTEMPT_COUNT_MAX + 1):
        try:
            return await _apply(connection, migration)
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
            if attempt == LOCK_ATTEMPT_COUNT_MAX:
                raise
            log.warning("migration_waits", name=migration.name, attempt=attempt)
            # Without the locks for a while, so that those who queued behind us get through.
            await asyncio.sleep(LOCK_RETRY_SECONDS)
    raise AssertionError("the last attempt returns or raises")


async def _apply(connection: Connection, migration: Migration) -> None:
    async with connection.transaction():
        await connection.execute(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}")
        try:
            await connection.execute(migration.sql)
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
            raise
        except asyncpg.PostgresError as error:
            raise MigrationError(f"{migration.name}: {_one_line(error)}") from error
        await connection.execute(
            "INSERT INTO schema_migration (name, sha256) VALUES ($1::text, $2::text)",
            migration.name,
            migration.sha256,
        )


def _edited(name: str) -> str:
    return f"{name} was edited after it was applied: restore it, and write a new migration"


def _one_line(error: BaseException) -> str:
    return str(error.args[0] if error.args else error).splitlines()[0]
