"""Makes a service's two roles and its schema: the owner migrates, the runtime role only uses.

The runtime role may read and write rows and call functions in its own schema, and nothing else.
Everything may be repeated, beside running servers too; a repeat sets the passwords again.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from typing import Final

import asyncpg
import structlog
from pydantic import SecretStr

from chassis.database import (
    IDLE_IN_TRANSACTION_TIMEOUT_MS,
    LOCK_TIMEOUT_MS,
    STATEMENT_TIMEOUT_MS,
    Connection,
    connect_patiently,
)

# Four services may be provisioned at once in one database, and they change shared rows.
_ADVISORY_LOCK: Final = 7_400_001
_SCRAM_ITERATIONS: Final = 4096
_SALT_BYTES: Final = 16

log = structlog.get_logger()


class ProvisionError(Exception):
    """The roles or the schema could not be made. One line: what is wrong, the fix."""


def owner_role(name: str) -> str:
    """Returns the role that owns the service's schema."""
    return f"headgate_{name}_owner"


def runtime_role(name: str) -> str:
    """Returns the role that the service's servers and jobs connect as."""
    return f"headgate_{name}"


async def provision(
    admin_url: str | SecretStr, *, name: str, owner_password: str, runtime_password: str
) -> None:
    """Makes the roles and the schema of the service `name`, in one transaction.

    The URL's role must be allowed to create roles and, in this database, schemas. Raises
    ProvisionError.
    """
    for password in (owner_password, runtime_password):
        if not (password and password.isascii() and password.isprintable()):
            raise ProvisionError("a role's password must be of printable ASCII characters")
    connection = await connect_patiently(
        admin_url, application_name=f"headgate-{name}-provision", schema="pg_catalog"
    )
    try:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1::bigint)", _ADVISORY_LOCK)
            await _make_role(connection, owner_role(name), owner_password, search_path=name)
            await _make_role(connection, runtime_role(name), runtime_password, search_path=name)
            await _make_schema(connection, name)
    except asyncpg.PostgresError as error:
        message = f"cannot provision {name}: {error.args[0]}"
        raise ProvisionError(message) from error
    finally:
        await connection.close()
    log.info("provisioned", schema=name)


async def _make_role(
    connection: Connection, role: str, password: str, *, search_path: str
) -> None:
    powerful = await connection.fetchval(
        "SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls"
        " FROM pg_roles WHERE rolname = $1::text",
        role,
    )
    if powerful:
        raise ProvisionError(f"role {role} exists and may do too much: drop it, or its rights")
    identifier = _quote(role)
    verb = "CREATE" if powerful is None else "ALTER"
    # Only the verifier is sent: a password in a statement could end in the server's log.
    await connection.execute(
        f"{verb} ROLE {identifier} LOGIN NOINHERIT PASSWORD '{_scram_verifier(password)}'"
    )
    # For connections that cannot set their own, behind a transaction pooler.
    await connection.execute(f"ALTER ROLE {identifier} SET search_path = {_quote(search_path)}")


async def _make_schema(connection: Connection, name: str) -> None:
    owner, runtime, schema = _quote(owner_role(name)), _quote(runtime_role(name)), _quote(name)
    database = _quote(await connection.fetchval("SELECT current_database()"))
    if not await connection.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = current_user"):
        # Who is no superuser may act for a role only as its member.
        await connection.execute(f"GRANT {owner} TO current_user")
    defaults = f"ALTER DEFAULT PRIVILEGES FOR ROLE {owner}"
    grant = f"{defaults} IN SCHEMA {schema} GRANT"
    setting = f"ALTER ROLE {runtime} SET"
    for statement in (
        f"CREATE SCHEMA IF NOT EXISTS {schema} AUTHORIZATION {owner}",
        f"ALTER SCHEMA {schema} OWNER TO {owner}",
        # Connecting stays everybody's: a neighbour in this database may rely on it.
        f"REVOKE CREATE, TEMPORARY ON DATABASE {database} FROM PUBLIC",
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
        f"GRANT CONNECT ON DATABASE {database} TO {owner}, {runtime}",
        f"GRANT USAGE ON SCHEMA {schema} TO {runtime}",
        f"{defaults} REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC",
        f"{grant} SELECT, INSERT, UPDATE, DELETE ON TABLES TO {runtime}",
        f"{grant} USAGE ON SEQUENCES TO {runtime}",
        f"{grant} EXECUTE ON FUNCTIONS TO {runtime}",
        f"{setting} statement_timeout = {STATEMENT_TIMEOUT_MS}",
        f"{setting} lock_timeout = {LOCK_TIMEOUT_MS}",
        f"{setting} idle_in_transaction_session_timeout = {IDLE_IN_TRANSACTION_TIMEOUT_MS}",
    ):
        await connection.execute(statement)


def _scram_verifier(password: str) -> str:
    """Returns what Postgres itself would store for the password (RFC 5802, RFC 7677)."""
    salt = secrets.token_bytes(_SALT_BYTES)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _SCRAM_ITERATIONS)
    stored_key = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    encoded = [base64.b64encode(part).decode() for part in (salt, stored_key, server_key)]
    return f"SCRAM-SHA-256${_SCRAM_ITERATIONS}:{encoded[0]}${encoded[1]}:{encoded[2]}"


def _quote(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'
