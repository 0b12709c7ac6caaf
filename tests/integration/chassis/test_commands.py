"""Each command, run within this process: what it writes, its exit code, and what it changed."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import asyncpg
import pytest
import pytest_asyncio

from chassis import process
from chassis.config import ConfigError
from chassis.process import Deployable, Process, run
from tests.integration.chassis.test_process import environment_of
from tests.integration.chassis.test_provision import build
from tests.integration.chassis.toy import TOY, ToySettings
from tests.postgres import Clone, roles_locked
from tests.schemas import runtime_url


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: object
    out: str
    err: str

    @property
    def events(self) -> list[str]:
        """What was logged, in order."""
        lines = [line for line in self.err.splitlines() if line.startswith("{")]
        return [json.loads(line)["event"] for line in lines]


Command = Callable[..., Ended]

# For commands that never connect.
NOWHERE = "postgresql://postgres:secret@127.0.0.1:1/none"


@pytest_asyncio.fixture
async def url(clone: Clone) -> str:
    return await clone("toy_neighbours", build)


@pytest.fixture
def command(logged: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs a command on a database: `command(url, "job", "succeed")`.

    In a test that is no coroutine: a command has its own loop, on the main thread.
    """

    def execute(
        url: str, *arguments: str, deployable: Deployable[ToySettings] = TOY, **fields: str
    ) -> Ended:
        for name in [each for each in os.environ if each.startswith("HEADGATE_")]:
            monkeypatch.delenv(name)
        for name, value in environment_of(url).items():
            monkeypatch.setenv(name, value)
        for name, value in fields.items():
            monkeypatch.setenv(f"HEADGATE_HEALTH_{name.upper()}", value)
        out, err = io.StringIO(), io.StringIO()
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            pytest.raises(SystemExit) as caught,
        ):
            run(deployable, arguments)
        return Ended(caught.value.code, out.getvalue(), err.getvalue())

    return execute


def serving(
    serve: Callable[[ToySettings, Process], contextlib.AbstractAsyncContextManager[None]],
) -> Deployable[ToySettings]:
    return replace(TOY, serve=serve)


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_check_config_says_that_all_is_there(command: Command) -> None:
    assert command(NOWHERE, "check-config") == Ended(
        0, "the configuration of toy is complete\n", ""
    )


def test_a_wrong_configuration_is_one_line(command: Command) -> None:
    ended = command(NOWHERE, "serve", service_token="short")

    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("toy: HEADGATE_HEALTH_SERVICE_TOKEN: set at least 32 ASCII")


@pytest.mark.parametrize("arguments", [[], ["job"], ["job", "unknown"], ["jump"]])
def test_a_command_that_is_none_is_refused(command: Command, arguments: list[str]) -> None:
    ended = command(NOWHERE, *arguments)

    assert ended.code == 2
    assert "usage: toy" in ended.err


def test_provision_and_migrate_make_a_schema_that_can_be_served(
    command: Command, fresh_database: str
) -> None:
    with asyncio.Runner() as runner:
        lock = roles_locked(fresh_database)
        runner.run(lock.__aenter__())
        try:
            provisioned = command(fresh_database, "provision")
        finally:
            runner.run(lock.__aexit__(None, None, None))
    migrated = command(fresh_database, "migrate", "--pre")
    again = command(fresh_database, "migrate")

    assert [ended.code for ended in (provisioned, migrated, again)] == [0, 0, 0]
    assert provisioned.events == ["provisioned"]
    assert migrated.events == ["migrated", "schema_is_current"]
    assert again.events == ["schema_is_current"]
    assert asyncio.run(count_toys(fresh_database)) == 0


async def count_toys(url: str) -> int:
    connection = await asyncpg.connect(runtime_url(url, "toy"))
    count: int = await connection.fetchval("SELECT count_toys()")
    await connection.close()
    return count


def test_provision_refuses_roles_it_would_not_make(command: Command) -> None:
    user = command(NOWHERE, "provision", database_url="postgresql://other:secret@127.0.0.1:1/none")
    owner = command(NOWHERE, "provision", owner_database_url=runtime_url(NOWHERE, "toy"))

    assert user.code == owner.code == 2
    assert user.err.startswith("toy: HEADGATE_HEALTH_DATABASE_URL: its user must be headgate_toy,")
    assert owner.err.startswith("toy: HEADGATE_HEALTH_OWNER_DATABASE_URL: its user must be")
    assert "secret" not in user.err


def test_what_only_some_commands_need_is_asked_for_by_them(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "load", lambda settings: settings(owner_database_url=None))
    ended = command(NOWHERE, "migrate")

    assert ended.code == 2
    assert "HEADGATE_HEALTH_OWNER_DATABASE_URL is not set: `migrate` needs it" in ended.err


def test_a_database_that_refuses_is_one_line_without_the_password(
    command: Command, url: str
) -> None:
    wrong = url.rpartition("@")[2]
    ended = command(
        url, "migrate", owner_database_url=f"postgresql://headgate_toy:hunter2@{wrong}"
    )

    assert ended.code == 1
    assert ended.err.startswith("toy: cannot connect to 127.0.0.1:")
    assert "hunter2" not in ended.err
    assert ended.err.count("\n") == 1


def test_a_job_logs_its_result(command: Command) -> None:
    ended = command(NOWHERE, "job", "succeed")
    line = json.loads(ended.err)

    assert (ended.code, ended.out) == (0, "")
    assert (line["event"], line["job"], line["rows"]) == ("job_done", "succeed", 3)


def test_a_job_runs_beside_a_server_that_has_the_metrics_address(command: Command) -> None:
    # Port 1 is nobody's to listen on but root's; jobs do not listen at all.
    assert command(NOWHERE, "job", "succeed", metrics_address="203.0.113.1:1").code == 0


def test_a_job_that_cannot_do_its_work_is_one_line(command: Command) -> None:
    assert command(NOWHERE, "job", "fail") == Ended(1, "", "toy: nothing to do it with\n")


def test_a_job_that_crashes_is_on_the_log(command: Command) -> None:
    ended = command(NOWHERE, "job", "crash")

    assert ended.code == 1
    assert ended.events == ["crashed"]
    assert "a bug" in ended.err


def test_a_job_that_is_interrupted_says_so(command: Command) -> None:
    async def wait(settings: ToySettings) -> None:
        interrupt()
        await asyncio.Event().wait()

    ended = command(NOWHERE, "job", "wait", deployable=replace(TOY, jobs={"wait": wait}))

    assert (ended.code, ended.out) == (1, "")
    assert ended.err == "toy: interrupted by a signal; it may be run again\n"


def test_a_server_stops_when_its_background_work_fails(command: Command, url: str) -> None:
    order: list[str] = []

    async def fail() -> None:
        raise ConnectionError("cut")

    async def end() -> None:
        order.append("ended by itself")

    async def go_on() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            order.append("cancelled")

    @asynccontextmanager
    async def serve(settings: ToySettings, process: Process) -> AsyncIterator[None]:
        async def drained() -> None:
            order.append("drained")

        process.server.on_drain(drained)
        for name, work in (("fail", fail), ("end", end), ("go_on", go_on)):
            process.spawn(name, work())
        yield
        order.append("cleaned up")

    ended = command(url, "serve", deployable=serving(serve), propagation_seconds="0")

    assert ended.code == 1
    assert json.loads(ended.out)["event"] == "listening"
    assert ended.events == ["background_work_failed", "draining", "drained"]
    assert order == ["ended by itself", "drained", "cancelled", "cleaned up"]


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "[::1]:0"])
def test_a_server_drains_at_a_signal(command: Command, url: str, listen: str) -> None:
    @asynccontextmanager
    async def serve(settings: ToySettings, process: Process) -> AsyncIterator[None]:
        async def ready() -> None:
            asyncio.get_running_loop().call_later(0.05, interrupt)

        process.server.add_readiness("started", ready)
        yield

    ended = command(
        url,
        "serve",
        deployable=serving(serve),
        propagation_seconds="0",
        listen_address=listen,
    )

    assert ended.code == 0
    assert json.loads(ended.out)["address"].startswith(listen.removesuffix("0"))
    assert ended.events == ["draining", "drained"]


def test_a_signal_before_it_serves_ends_it_and_cleans_up(command: Command, url: str) -> None:
    cleaned: list[bool] = []

    @asynccontextmanager
    async def serve(settings: ToySettings, process: Process) -> AsyncIterator[None]:
        try:
            interrupt()
            await asyncio.Event().wait()
            yield
        finally:
            cleaned.append(True)

    ended = command(url, "serve", deployable=serving(serve))

    assert (ended.code, ended.out, ended.err) == (0, "", "")
    assert cleaned == [True]


def test_a_wrong_setting_found_late_is_one_line(command: Command, url: str) -> None:
    @asynccontextmanager
    async def serve(settings: ToySettings, process: Process) -> AsyncIterator[None]:
        raise ConfigError("HEADGATE_HEALTH_LISTEN_ADDRESS: choose another")
        yield

    ended = command(url, "serve", deployable=serving(serve))

    assert (ended.code, ended.out) == (2, "")
    assert ended.err == "toy: HEADGATE_HEALTH_LISTEN_ADDRESS: choose another\n"


def test_a_server_that_cannot_be_built_says_why(command: Command, url: str) -> None:
    @asynccontextmanager
    async def serve(settings: ToySettings, process: Process) -> AsyncIterator[None]:
        raise RuntimeError("a bug")
        yield

    ended = command(url, "serve", deployable=serving(serve))

    assert ended.code == 1
    assert ended.events == ["crashed"]
