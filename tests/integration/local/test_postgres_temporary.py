from __future__ import annotations

import signal
import subprocess
import sys

import psutil
import pytest

from local.postgres import EmbeddedPostgres
from tests.integration.local.servers import (
    CHECKOUT,
    is_gone,
    kill,
    read_answer,
    run,
    start_elsewhere,
    wait_until,
)


async def test_temporary_server_leaves_nothing_behind() -> None:
    with EmbeddedPostgres(temporary=True) as server:
        value = await run(server.url, "SELECT 1")
        pid, data = server.pid, server.data
    assert pid is not None

    assert value == 1
    assert is_gone(pid)
    assert not data.parent.exists()


def test_temporary_servers_run_beside_each_other() -> None:
    with EmbeddedPostgres(temporary=True) as first, EmbeddedPostgres(temporary=True) as second:
        pids = {first.pid, second.pid}

    assert len(pids) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
def test_temporary_server_ends_with_its_killed_starter_and_the_next_one_tidies_up() -> None:
    starter = start_elsewhere(None)
    _, pid, data = read_answer(starter)
    kill(starter)
    wait_until(lambda: is_gone(pid))
    left_over = data.exists()
    with EmbeddedPostgres(temporary=True):
        pass

    assert left_over
    assert not data.parent.exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_kept_server_ends_with_the_process_that_it_is_kept_for(number: signal.Signals) -> None:
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    keeper = subprocess.Popen(
        [sys.executable, "-m", "local.keeper", str(sleeper.pid)],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert keeper.stdout is not None
    url = keeper.stdout.readline()
    servers = psutil.Process(keeper.pid).children()
    sleeper.send_signal(number)
    sleeper.wait()
    code = keeper.wait(timeout=30)
    keeper.stdout.close()

    assert url.startswith("postgresql://")
    assert code == 0
    assert len(servers) == 1
    assert is_gone(servers[0].pid)
