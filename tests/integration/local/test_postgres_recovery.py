from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import asyncpg
import psutil
import pytest

from local import postmaster
from local.postgres import EmbeddedPostgres
from tests.integration.local.servers import (
    is_gone,
    kill,
    read_answer,
    run,
    start_elsewhere,
    wait_until,
)

PID_FILE = postmaster.PID_FILE


async def test_killed_server_starts_again_at_once_with_all_that_was_acknowledged(
    folder: Path,
) -> None:
    """Its process stays a zombie here: nobody has waited for it."""
    server = EmbeddedPostgres(folder=folder)
    server.start()
    await run(server.url, "CREATE TABLE thing AS SELECT 7 AS id")
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    with EmbeddedPostgres(folder=folder) as again:
        value = await run(again.url, "SELECT id FROM thing")
        restarted = again.pid != server.pid
    server.stop()

    assert value == 7
    assert restarted


async def test_stale_pid_of_a_living_stranger_is_not_trusted_and_the_stranger_lives(
    folder: Path,
) -> None:
    with EmbeddedPostgres(folder=folder) as server:
        lines = (server.data / PID_FILE).read_text().splitlines()
    stranger = psutil.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    lines[0] = str(stranger.pid)
    (folder / "data" / PID_FILE).write_text("\n".join(lines))
    with EmbeddedPostgres(folder=folder) as server:
        value = await run(server.url, "SELECT 1")
    lives = stranger.is_running()
    stranger.kill()
    stranger.wait()

    assert value == 1
    assert lives


async def test_stale_pid_of_a_server_on_another_folder_is_not_trusted(folder: Path) -> None:
    with EmbeddedPostgres(temporary=True) as other:
        with EmbeddedPostgres(folder=folder) as server:
            pass
        (server.data / PID_FILE).write_text((other.data / PID_FILE).read_text())
        with EmbeddedPostgres(folder=folder) as server:
            pids = {server.pid, other.pid}
        still_there = await run(other.url, "SELECT 1")

    assert len(pids) == 2
    assert still_there == 1


async def test_empty_pid_file_is_overcome(folder: Path) -> None:
    with EmbeddedPostgres(folder=folder) as server:
        pass
    (server.data / PID_FILE).write_text("")
    with EmbeddedPostgres(folder=folder) as server:
        value = await run(server.url, "SELECT 1")

    assert value == 1


async def test_server_that_lost_its_pid_file_is_replaced_not_doubled(folder: Path) -> None:
    first = EmbeddedPostgres(folder=folder)
    first.start()
    (first.data / PID_FILE).write_text("")
    with EmbeddedPostgres(folder=folder) as second:
        value = await run(second.url, "SELECT 1")
        first_lives = first.is_running()
    first.stop()

    assert value == 1
    assert not first_lives


def test_two_starters_at_once_get_one_server(folder: Path) -> None:
    starters = [start_elsewhere(folder) for _ in range(3)]
    answers = {read_answer(starter) for starter in starters}
    for starter in starters:
        kill(starter)

    assert len(answers) == 1


async def test_running_server_is_adopted_and_stopped_by_the_adopter(folder: Path) -> None:
    first = EmbeddedPostgres(folder=folder)
    first.start()
    with EmbeddedPostgres(folder=folder) as second:
        same = first.pid == second.pid
        value = await run(second.url, "SELECT 1")
    lives = first.is_running()
    first.stop()

    assert same
    assert value == 1
    assert not lives


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
async def test_killed_starter_takes_the_server_along_and_the_next_start_works(
    folder: Path,
) -> None:
    starter = start_elsewhere(folder)
    url, pid, _ = read_answer(starter)
    await run(url, "CREATE TABLE thing AS SELECT 7 AS id")
    kill(starter)
    # At once: the old server may still be stopping.
    with EmbeddedPostgres(folder=folder) as server:
        value = await run(server.url, "SELECT id FROM thing")
        old_is_gone = is_gone(pid) or server.pid == pid

    assert value == 7
    assert old_is_gone


async def test_killed_back_end_takes_no_acknowledged_row_along(folder: Path) -> None:
    with EmbeddedPostgres(folder=folder) as server:
        await run(server.url, "CREATE TABLE thing AS SELECT 7 AS id")
        connection = await asyncpg.connect(server.url)
        back_end = psutil.Process(connection.get_server_pid())
        back_end.kill()
        wait_until(lambda: not postmaster.is_alive(back_end))
        while True:
            try:
                value = await run(server.url, "SELECT id FROM thing")
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                # The whole server recovers, which takes moments.
                continue
            break
        connection.terminate()

    assert value == 7


async def test_interrupted_first_start_leaves_nothing_that_stops_the_next(folder: Path) -> None:
    draft = folder / "draft"
    draft.mkdir(parents=True)
    (draft / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(folder=folder) as server:
        value = await run(server.url, "SELECT 1")

    assert value == 1


@pytest.mark.parametrize("seconds", [0.15, 0.3, 0.45])
async def test_first_start_that_was_killed_is_healed_by_the_next(
    folder: Path, seconds: float
) -> None:
    starter = start_elsewhere(folder)
    await asyncio.sleep(seconds)
    kill(starter)
    with EmbeddedPostgres(folder=folder) as server:
        value = await run(server.url, "SELECT 1")

    assert value == 1
