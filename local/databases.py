"""The system's database: an embedded server, or the one of HEADGATE_DATABASE_URL."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final, Protocol

from chassis.database import ConnectError
from chassis.migrations import MigrationError, migrate
from chassis.provision import ProvisionError, provision
from local import config, postmaster
from local.credentials import Credentials
from local.errors import LocalError
from local.layout import MODULES, with_user
from local.postgres import EmbeddedPostgres

FOLDER: Final = "postgres"


class Database(Protocol):
    """What the supervisor needs of a database server."""

    @property
    def pid(self) -> int | None:
        """The server's process, if it is one of this machine and runs."""

    def start(self) -> str:
        """Starts it if it does not run; returns the admin's URL. Raises `LocalError`."""

    def is_running(self) -> bool:
        """Whether it runs, as far as one can tell without asking it."""

    def stop(self) -> None:
        """Stops what `start` started or adopted."""


class ExternalDatabase:
    """A server that somebody else runs."""

    # Not ours to know.
    pid: Final = None

    def __init__(self, url: str) -> None:
        self._url = url

    def start(self) -> str:
        """Its URL, as it was given."""
        return self._url

    def is_running(self) -> bool:
        """Always: it is not ours to start again."""
        return True

    def stop(self) -> None:
        """Leaves it alone."""


def choose(state: Path) -> Database:
    """The server to use; it does not run yet."""
    url = config.external_database_url()
    if url is not None:
        return ExternalDatabase(url)
    return EmbeddedPostgres(folder=state / FOLDER)


def stop_leftover(state: Path) -> bool:
    """Stops a server that runs without a supervisor; tells whether there was one."""
    found = postmaster.find_postmaster(state / FOLDER / "data")
    if found is None:
        return False
    postmaster.end(found.process)
    return True


def prepare(admin_url: str, credentials: Credentials) -> None:
    """Makes roles and schemas and brings them up to this version. Raises `LocalError`."""
    try:
        asyncio.run(_prepare_all(admin_url, credentials))
    except (ConnectError, ProvisionError, MigrationError) as error:
        raise LocalError(str(error)) from error


async def _prepare_all(admin_url: str, credentials: Credentials) -> None:
    await asyncio.gather(*(_prepare(admin_url, credentials, name) for name in MODULES))


async def _prepare(admin_url: str, credentials: Credentials, name: str) -> None:
    owner, owner_password = credentials.owner(name)
    _, runtime_password = credentials.runtime(name)
    await provision(
        admin_url, name=name, owner_password=owner_password, runtime_password=runtime_password
    )
    folder = config.CHECKOUT / MODULES[name].replace(".", "/") / "sql" / "migrations"
    await migrate(with_user(admin_url, owner, owner_password), schema=name, directory=folder)
