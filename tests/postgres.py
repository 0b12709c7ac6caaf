"""Databases for tests, on one real Postgres per test run.

The server is a temporary one, shared by all workers of the run and gone with it, or the one of
HEADGATE_DATABASE_URL. That one must be a throwaway too: roles belong to a whole server, and
provisioning gives the roles `headgate_*` the password `ROLE_PASSWORD`.

Fixtures: `postgres_url` (superuser's URL of the server), `fresh_database` (URL of an empty
database of the test's own), `clone` (databases copied from one that is built once per run):

    async def build(url: str) -> None:
        await provision(url, ..., owner_password=ROLE_PASSWORD, runtime_password=ROLE_PASSWORD)
        await migrate(with_user(url, "headgate_x_owner"), ...)

    async def test_something(clone: Clone) -> None:
        url = await clone("x", build)
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg
import psutil
import pytest
import pytest_asyncio

from local import config as local_config

# The password of every role that tests provision: one for all, since roles are shared by all
# databases of the server and so by tests that run at the same time.
ROLE_PASSWORD: Final = "tests-only-password-of-every-role"
# Any number: the advisory lock under which tests change roles.
ROLES_LOCK: Final = 7_146_001
CHECKOUT: Final = Path(__file__).resolve().parent.parent

Build = Callable[[str], Awaitable[None]]


class Clone(Protocol):
    """The `clone` fixture."""

    async def __call__(self, name: str, build: Build) -> str:
        """Returns the superuser's URL of a new database that equals what `build` made.

        `build` runs once per test run and name, with the URL of an empty database, while no other
        test changes roles; it must close its connections. The copy is dropped after the test.
        """


def with_database(url: str, name: str) -> str:
    """The URL with another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def with_user(url: str, user: str, password: str = ROLE_PASSWORD) -> str:
    """The URL with another user."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{user}:{quote(password, safe='')}@{host}"))


@asynccontextmanager
async def roles_locked(url: str) -> AsyncIterator[None]:
    """Keeps other tests from changing roles: Postgres fails concurrent changes of one role."""
    # Advisory locks belong to a database; this one is the same for all tests.
    connection = await asyncpg.connect(with_database(url, "postgres"))
    try:
        await connection.execute("SELECT pg_advisory_lock($1::bigint)", ROLES_LOCK)
        yield
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def postgres_url(pytestconfig: pytest.Config) -> str:
    """The superuser's URL of the run's server; its database `postgres` is everybody's."""
    run = pytestconfig.stash[RUN]
    external = local_config.external_database_url()
    if external is not None:
        (run.folder / "external").touch()
        return external
    with _file_lock(run.folder / "lock"):
        url_file = run.folder / "url"
        if not url_file.exists():
            url_file.write_text(_start_keeper(run))
        return url_file.read_text()


@pytest_asyncio.fixture
async def fresh_database(postgres_url: str, pytestconfig: pytest.Config) -> AsyncIterator[str]:
    """The superuser's URL of an empty database, dropped after the test."""
    name = pytestconfig.stash[RUN].database_name()
    await _execute(postgres_url, f'CREATE DATABASE "{name}"')
    yield with_database(postgres_url, name)
    await _execute(postgres_url, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest_asyncio.fixture
async def clone(postgres_url: str, pytestconfig: pytest.Config) -> AsyncIterator[Clone]:
    """Makes databases from templates; see `Clone`."""
    async with cloning(postgres_url, pytestconfig) as make:
        yield make


@asynccontextmanager
async def cloning(postgres_url: str, config: pytest.Config) -> AsyncIterator[Clone]:
    """What the fixture `clone` does, for fixtures that live longer than a test."""
    run = config.stash[RUN]
    made: list[str] = []

    async def make(name: str, build: Build) -> str:
        template = f"{run.prefix}_template_{name}"
        await _ensure_template(postgres_url, template, build)
        copy = run.database_name()
        await _execute(postgres_url, f'CREATE DATABASE "{copy}" TEMPLATE "{template}"')
        made.append(copy)
        return with_database(postgres_url, copy)

    yield make
    for copy in made:
        await _execute(postgres_url, f'DROP DATABASE "{copy}" WITH (FORCE)')


class Run:
    """One test run: all its workers share the folder and the prefix of database names."""

    def __init__(self, folder: Path, owner_pid: int) -> None:
        self.folder = folder
        # The process that ends last: xdist's controller, or the only one.
        self.owner_pid = owner_pid
        self.prefix = f"test_{folder.name.rpartition('-')[2]}"

    def database_name(self) -> str:
        """A new name."""
        return f"{self.prefix}_{uuid.uuid4().hex[:12]}"


RUN: Final = pytest.StashKey[Run]()


def pytest_configure(config: pytest.Config) -> None:
    worker: dict[str, str] | None = getattr(config, "workerinput", None)
    if worker is None:
        # The random name goes into identifiers, which fold capitals.
        folder = Path(tempfile.gettempdir()) / f"headgate-tests-{uuid.uuid4().hex[:8]}"
        folder.mkdir(mode=0o700)
        config.stash[RUN] = Run(folder, os.getpid())
    else:
        config.stash[RUN] = Run(Path(worker["run_folder"]), int(worker["run_pid"]))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: object) -> None:
    """Tells a worker of xdist which run it belongs to."""
    run: Run = node.config.stash[RUN]  # type: ignore[attr-defined]
    node.workerinput["run_folder"] = str(run.folder)  # type: ignore[attr-defined]
    node.workerinput["run_pid"] = str(run.owner_pid)  # type: ignore[attr-defined]


def pytest_unconfigure(config: pytest.Config) -> None:
    run = config.stash.get(RUN, None)
    if run is None or run.owner_pid != os.getpid():
        return
    _stop_keeper(run)
    external = local_config.external_database_url()
    if external is not None and (run.folder / "external").exists():
        asyncio.run(_drop_databases(external, run.prefix))
    shutil.rmtree(run.folder)


def _start_keeper(run: Run) -> str:
    """Starts the process that keeps the server; it ends with the run, however that ends."""
    # Its errors go to a file: a pipe that nobody reads would block it.
    with (run.folder / "errors").open("wb") as errors:
        keeper = subprocess.Popen(
            [sys.executable, "-m", "local.keeper", str(run.owner_pid)],
            cwd=CHECKOUT,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
    assert keeper.stdout is not None
    with keeper.stdout as answer:
        url = answer.readline().decode().strip()
    if not url:
        pytest.exit(f"no Postgres for the tests: {(run.folder / 'errors').read_text().strip()}", 3)
    (run.folder / "keeper").write_text(str(keeper.pid))
    # Nobody waits for it: its end is told by its pid, and init reaps it.
    keeper.returncode = 0
    return url


def _stop_keeper(run: Run) -> None:
    pid_file = run.folder / "keeper"
    if not pid_file.exists():
        return
    try:
        keeper = psutil.Process(int(pid_file.read_text()))
        keeper.terminate()
        keeper.wait(timeout=30)
    except psutil.NoSuchProcess:
        pass


async def _ensure_template(url: str, template: str, build: Build) -> None:
    async with roles_locked(url):
        finished = await _fetch_template_flag(url, template)
        if finished:
            return
        if finished is not None:
            # An earlier worker failed half-way.
            await _execute(url, f'DROP DATABASE "{template}" WITH (FORCE)')
        await _execute(url, f'CREATE DATABASE "{template}"')
        await build(with_database(url, template))
        # Marked last: only a finished template is cloned.
        await _execute(url, f'ALTER DATABASE "{template}" IS_TEMPLATE true')


async def _fetch_template_flag(url: str, template: str) -> bool | None:
    connection = await asyncpg.connect(url)
    try:
        statement = "SELECT datistemplate FROM pg_database WHERE datname = $1::text"
        flag: bool | None = await connection.fetchval(statement, template)
        return flag
    finally:
        await connection.close()


async def _drop_databases(url: str, prefix: str) -> None:
    """Drops what the run left on a server that outlives it."""
    connection = await asyncpg.connect(url)
    try:
        statement = "SELECT datname FROM pg_database WHERE starts_with(datname, $1::text)"
        for row in await connection.fetch(statement, prefix):
            await connection.execute(f'ALTER DATABASE "{row[0]}" IS_TEMPLATE false')
            await connection.execute(f'DROP DATABASE "{row[0]}" WITH (FORCE)')
    finally:
        await connection.close()


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@contextmanager
def _file_lock(path: Path) -> Iterator[None]:
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
