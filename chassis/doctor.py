"""What is wrong with an installation, and what to do about it: `python -m services.x doctor`.

Looks with the runtime role's own eyes and changes nothing. Each finding says what was found and,
if that is wrong, the remedy.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import asyncpg
from cryptography import x509

from chassis.config import Settings
from chassis.database import Connection, connect
from chassis.migrations import MigrationError, require_migrated

# Time in tokens and permits is this machine's, time in decisions the database's.
CLOCK_SECONDS_MAX: Final = 1.0
# Certificates are renewed long before; later than this somebody should look.
CERTIFICATE_DAYS_MIN: Final = 14
_RIGHTS: Final = """
    SELECT
        rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls AS powerful,
        ARRAY(
            SELECT nspname::text FROM pg_namespace
            WHERE
                nspname <> $1::text
                AND nspname IN ('admission', 'accounting', 'health', 'gateway')
                AND has_schema_privilege(nspname, 'USAGE')
        ) AS foreign_schemas,
        coalesce(
            has_schema_privilege(to_regnamespace($1::text)::oid, 'CREATE'), FALSE
        ) AS may_create
    FROM pg_roles WHERE rolname = current_user
"""
_SERVER: Final = """
    SELECT
        clock_timestamp() AS now,
        current_setting('max_connections')::integer
        - current_setting('superuser_reserved_connections')::integer AS room,
        (SELECT count(*) FROM pg_stat_activity WHERE datname IS NOT NULL) AS used,
        current_setting('fsync') = 'on' AND current_setting('synchronous_commit') <> 'off'
        AS durable
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found; an empty remedy means that nothing is wrong."""

    check: str
    found: str
    remedy: str = ""

    @property
    def is_wrong(self) -> bool:
        """Tells whether something has to be done."""
        return bool(self.remedy)


async def examine(settings: Settings, *, name: str, migrations: Path) -> list[Finding]:
    """Makes all checks that the configuration allows, in order."""
    findings = [Finding("configuration", "complete")]
    if settings.tls_certificate_file is not None:
        findings.append(_check_certificate(settings.tls_certificate_file, dt.datetime.now(dt.UTC)))
    try:
        connection = await connect(
            settings.database_url,
            application_name=f"headgate-{name}-doctor",
            schema=name,
            statement_cache_size=settings.database_statement_cache_size,
        )
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        text = (str(error) or type(error).__name__).splitlines()[0]
        remedy = "start the database, or correct the URL, the role or its password"
        return [*findings, Finding("database", text, remedy)]
    try:
        findings.append(Finding("database", "answers"))
        findings += [each async for each in _look(connection, settings, name)]
    finally:
        await connection.close()
    findings.append(await _check_schema(settings, name, migrations))
    return findings


def render(findings: list[Finding], *, as_json: bool) -> str:
    """Writes findings for people, a line or two each, or for programs."""
    if as_json:
        told = [asdict(each) | {"wrong": each.is_wrong} for each in findings]
        return json.dumps({"findings": told}, indent=2) + "\n"
    lines = []
    for each in findings:
        lines.append(f"{'WRONG' if each.is_wrong else 'ok':6}{each.check:15}{each.found}")
        if each.is_wrong:
            lines.append(f"{'':21}-> {each.remedy}")
    return "\n".join(lines) + "\n"


async def _look(connection: Connection, settings: Settings, name: str) -> AsyncIterator[Finding]:
    began = dt.datetime.now(dt.UTC)
    server = await connection.fetchrow(_SERVER)
    ended = dt.datetime.now(dt.UTC)
    rights = await connection.fetchrow(_RIGHTS, name)
    if server is None or rights is None:
        raise AssertionError("both queries always have a row")
    yield _check_clock(server["now"], began, ended)
    free, wanted = server["room"] - server["used"], settings.database_pool_size
    yield Finding(
        "connections",
        f"{free} of {server['room']} are free; a replica's pool takes up to {wanted}",
        "" if free >= wanted else "raise max_connections, or make pools smaller",
    )
    yield Finding(
        "durability",
        "commits are on disk" if server["durable"] else "commits may be lost",
        "" if server["durable"] else "set fsync and synchronous_commit to on",
    )
    powers = ["to administrate the server"] if rights["powerful"] else []
    powers += ["to create in its schema"] if rights["may_create"] else []
    powers += [f"to use the schema {each}" for each in rights["foreign_schemas"]]
    yield Finding(
        "role",
        f"may do too much: {', '.join(powers)}" if powers else "may do what it must, no more",
        "run `provision`, and use the role that it makes" if powers else "",
    )


def _check_clock(database: dt.datetime, began: dt.datetime, ended: dt.datetime) -> Finding:
    """The answer was made between the two moments, so only what lies outside them is an error."""
    off = max((began - database).total_seconds(), (database - ended).total_seconds(), 0.0)
    remedy = "let both machines follow the same time servers" if off > CLOCK_SECONDS_MAX else ""
    return Finding("clock", f"differs from the database's by {off:.1f} s", remedy)


def _check_certificate(path: Path, now: dt.datetime) -> Finding:
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        return Finding("certificate", f"{path}: {error}", "put a certificate in PEM there")
    days = (certificate.not_valid_after_utc - now).days
    names = ", ".join(_names(certificate)) or "no name"
    remedy = "renew it; servers read the new one by themselves"
    return Finding(
        "certificate",
        f"for {names}, ends in {days} days",
        remedy if days < CERTIFICATE_DAYS_MIN else "",
    )


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return [str(each.value) for each in extension.value]


async def _check_schema(settings: Settings, name: str, migrations: Path) -> Finding:
    try:
        await require_migrated(settings.database_url, schema=name, directory=migrations)
    except MigrationError as error:
        return Finding("schema", str(error), "run `migrate` with this version")
    return Finding("schema", "is at this version")
