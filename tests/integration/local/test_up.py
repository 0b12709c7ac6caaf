"""The whole system under its supervisor, by the commands that people use."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from local import config
from local.accounts import make_folder
from local.readiness import is_ready
from tests.integration.local.servers import CHECKOUT, is_gone, run, wait_until

# Each test that runs a system would otherwise start one more beside it.
pytestmark = pytest.mark.xdist_group("local-system")
COMMAND_SECONDS = 120.0


class Up:
    """A `local up` that runs."""

    def __init__(self, state: Path, *words: str, environment: Mapping[str, str] | None = None):
        self.state = state
        self.log = state / "said"
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "local", "up", "--state", str(state), *words],
                cwd=CHECKOUT,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def said(self) -> str:
        return self.log.read_text()

    @property
    def endpoints(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.state / "endpoints.json").read_text())
        return content

    def pid(self, name: str) -> int:
        pid: int = self.endpoints["pids"][name]
        return pid

    def wait_until_up(self) -> None:
        def decided() -> bool:
            return "Headgate is up." in self.said or self.process.poll() is not None

        wait_until(decided)
        assert self.process.poll() is None, self.said

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=COMMAND_SECONDS)


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "local", *words],
        cwd=CHECKOUT,
        check=False,
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
    )


@contextlib.contextmanager
def state_folder() -> Iterator[Path]:
    scratch = config.places().scratch
    make_folder(scratch, mode=0o755)
    folder = Path(tempfile.mkdtemp(prefix="headgate-up-", dir=scratch))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        # Whatever a failed test left.
        command("down", "--state", str(folder))
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def system() -> Iterator[Up]:
    with state_folder() as state:
        up = Up(state, "--gateways", "2")
        up.wait_until_up()
        yield up
        assert up.stop() == 0


def keys_in(text: str) -> list[str]:
    return re.findall(r"hg_\w+", text)


def test_everything_is_ready_where_the_file_says(system: Up) -> None:
    endpoints = system.endpoints

    assert len(endpoints["gateways"]) == 2
    addresses = [*endpoints["gateways"], *endpoints["admissions"]]
    addresses += [endpoints["accounting"], endpoints["health"]]
    assert [address for address in addresses if not is_ready(address)] == []
    assert {httpx2.get(f"{url}/openapi.json").status_code for url in endpoints["http"]} == {200}
    assert [name for name, pid in endpoints["pids"].items() if is_gone(pid)] == []
    assert stat.S_IMODE((system.state / "endpoints.json").stat().st_mode) == 0o600


async def test_the_databases_url_is_the_admins(system: Up) -> None:
    names = await run(
        system.endpoints["database_url"],
        "SELECT string_agg(nspname, ' ' ORDER BY nspname) FROM pg_namespace"
        " WHERE nspowner::regrole::text LIKE 'headgate%'",
    )

    assert names == "accounting admission gateway health"


def test_keys_are_printed_at_the_first_start_and_on_request(system: Up) -> None:
    asked = command("keys", "--state", str(system.state))

    wanted = {*system.endpoints["api_keys"].values(), system.endpoints["admin_key"]}
    assert set(keys_in(system.said)) == wanted
    assert set(keys_in(asked.stdout)) == wanted


def test_the_token_of_the_first_start_makes_the_first_admin_once(system: Up) -> None:
    (token,) = re.findall(r"^  token +(\S+)$", system.said, re.MULTILINE)
    words = ("--state-dir", str(system.state), "staff", "bootstrap", "ada@example.com")

    def come_in() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "headgate", *words, "--name", "Ada"],
            input=f"{token}\ncorrect horse battery staple\n",
            check=False,
            capture_output=True,
            text=True,
            cwd=CHECKOUT,
        )

    first, second = come_in(), come_in()

    assert (first.returncode, second.returncode) == (0, 1), first.stderr
    assert "hgs_" in first.stdout
    assert "the token is unknown, used, expired or revoked" in second.stderr
    assert token not in command("keys", "--state", str(system.state)).stdout


async def test_no_key_is_stored_as_it_is(system: Up) -> None:
    hashes = await run(
        system.endpoints["database_url"], "SELECT string_agg(k::text, ' ') FROM gateway.api_key k"
    )

    secrets = [key.rpartition("_")[2] for key in keys_in(system.said)]
    assert [secret for secret in secrets if secret in str(hashes)] == []
    logs = "".join(path.read_text() for path in (system.state / "logs").iterdir())
    assert [secret for secret in secrets if secret in logs] == []


def test_no_secret_is_in_a_command_line(system: Up) -> None:
    words = " ".join(
        word for pid in system.endpoints["pids"].values() for word in psutil.Process(pid).cmdline()
    )

    stored = [path.read_text().strip() for path in (system.state / "secrets").iterdir()]
    assert [secret for secret in stored if secret in words] == []


def test_status_shows_every_process(system: Up) -> None:
    shown = command("status", "--state", str(system.state))
    as_json = command("status", "--json", "--state", str(system.state))

    rows = {row["name"]: row for row in json.loads(as_json.stdout)["processes"]}
    assert (shown.returncode, as_json.returncode) == (0, 0)
    assert set(rows) == {"gateway-0", "gateway-1", "admission-0", "accounting-0", "health-0"}
    assert all(row["ready"] and row["address"] in shown.stdout for row in rows.values())


def test_another_start_says_that_it_is_up_already(system: Up) -> None:
    again = command("up", "--state", str(system.state))

    assert again.returncode == 0
    assert f"already up: the gateway answers at {system.endpoints['gateways'][0]}" in again.stdout


def test_another_system_beside_it_has_ports_of_its_own(system: Up) -> None:
    with state_folder() as state:
        other = Up(state)
        other.wait_until_up()
        overlap = set(other.endpoints["replicas"].values()) & set(
            system.endpoints["replicas"].values()
        )
        code = other.stop(signal.SIGINT)

    assert overlap == set()
    assert code == 0


@pytest.mark.parametrize("name", ["gateway-1", "admission-0", "accounting-0", "health-0"])
def test_a_killed_process_is_back_on_its_port(system: Up, name: str) -> None:
    address, pid = system.endpoints["replicas"][name], system.pid(name)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: system.pid(name) != pid)
    wait_until(lambda: is_ready(address))

    assert system.endpoints["replicas"][name] == address
    assert f"{name} ended (SIGKILL); starting it again" in system.said


def test_a_killed_postgres_is_back_at_its_address(system: Up) -> None:
    url, pid = system.endpoints["database_url"], system.pid("postgres")
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: "Postgres is back" in system.said)
    wait_until(lambda: system.pid("postgres") != pid)
    addresses = system.endpoints["replicas"].values()
    wait_until(lambda: all(is_ready(address) for address in addresses))

    assert system.endpoints["database_url"] == url


def test_data_keys_and_ports_survive_a_clean_stop_and_a_kill() -> None:
    with state_folder() as state:
        # The last block: nobody who starts beside this test takes it while it is free.
        (state / "ports").write_text("9300\n")
        first = Up(state)
        first.wait_until_up()
        before, pids = first.endpoints, first.endpoints["pids"].values()
        code = first.stop()
        left = [pid for pid in pids if not is_gone(pid)]
        stopped = not (state / "endpoints.json").exists()

        second = Up(state)
        second.wait_until_up()
        children = second.endpoints["pids"].values()
        second.stop(signal.SIGKILL)
        wait_until(lambda: all(is_gone(pid) for pid in children))

        third = Up(state)
        third.wait_until_up()
        after = third.endpoints
        said = third.said
        down = command("down", "--state", str(state))
        third_code = third.process.wait(timeout=COMMAND_SECONDS)

    assert (code, left, stopped) == (0, [], True)
    assert before["gateways"] == ["127.0.0.1:9300"]
    assert keys_in(said) == []
    same = ("api_keys", "admin_key", "replicas", "database_url")
    assert {name: before[name] for name in same} == {name: after[name] for name in same}
    assert (down.returncode, third_code) == (0, 0)


def test_a_wrong_setting_stops_the_start_with_one_line_that_names_it() -> None:
    with state_folder() as state:
        up = Up(state, environment={"HEADGATE_HEALTH_PROBE_COUNT": "none"})
        code = up.process.wait(timeout=COMMAND_SECONDS)
        last_line = up.said.splitlines()[-1]

    assert code == 1
    assert last_line.startswith("health: HEADGATE_HEALTH_PROBE_COUNT: ")


def test_a_stop_while_it_starts_leaves_nothing() -> None:
    with state_folder() as state:
        up = Up(state)
        wait_until(lambda: "processes" in up.said)
        children = psutil.Process(up.process.pid).children(recursive=True)
        code = up.stop()
        gone, alive = psutil.wait_procs(children, timeout=COMMAND_SECONDS)

    assert code == 0
    assert (len(gone) > 0, alive) == (True, [])


def test_ports_in_use_are_passed_over() -> None:
    with state_folder() as state:
        (state / "ports").write_text("9200\n")
        with socket.create_server(("127.0.0.1", 9201)):
            up = Up(state)
            up.wait_until_up()
            ports = [int(address.rpartition(":")[2]) for address in up.endpoints["gateways"]]
            up.stop()

    assert ports != [9200]
