"""Each command that ends by itself, run within this process: output, exit code, effect."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from dataclasses import replace

import asyncpg
import pytest

from chassis import process
from tests.integration.chassis.commands import NOWHERE, Command, Ended
from tests.integration.chassis.toy import TOY, ToySettings
from tests.postgres import roles_locked
from tests.schemas import runtime_url


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
