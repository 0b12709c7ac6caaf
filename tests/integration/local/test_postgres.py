from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import psutil
import pytest

from local import binaries, config
from local.accounts import make_folder
from local.errors import LocalError
from local.postgres import EmbeddedPostgres
from tests.integration.local.servers import CHECKOUT, run

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change its user")

# Imports as root, whose folders others may not enter, and goes on as the given user with an
# interpreter that this one may start.
AS_USER = """
import os, sys
from local.errors import LocalError
from local.postgres import EmbeddedPostgres
os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1])); sys.executable = sys.argv[2]
try:
    with EmbeddedPostgres(temporary=True) as server:
        print("started", server.pid)
except LocalError as error:
    print(error)
"""


async def test_server_keeps_its_promises_about_durability_and_limits(folder: Path) -> None:
    names = ["fsync", "synchronous_commit", "max_connections", "shared_buffers"]
    with EmbeddedPostgres(folder=folder) as server:
        values = [await run(server.url, f"SHOW {name}") for name in names]

    assert values == ["on", "on", "200", "128MB"]


async def test_data_and_port_stay_over_a_restart(folder: Path) -> None:
    with EmbeddedPostgres(folder=folder) as server:
        await run(server.url, "CREATE TABLE thing AS SELECT 7 AS id")
        first_url = server.url
    with EmbeddedPostgres(folder=folder) as server:
        second_url = server.url
        value = await run(server.url, "SELECT id FROM thing")

    assert value == 7
    assert first_url == second_url


async def test_port_of_the_last_run_that_is_taken_is_replaced(folder: Path) -> None:
    with EmbeddedPostgres(folder=folder) as server:
        port = urlsplit(server.url).port
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        with EmbeddedPostgres(folder=folder) as server:
            value = await run(server.url, "SELECT 1")
            other_port = urlsplit(server.url).port

    assert value == 1
    assert other_port != port


async def test_server_asks_for_the_password_and_listens_on_loopback_only(folder: Path) -> None:
    with EmbeddedPostgres(folder=folder) as server:
        wrong = server.url.replace(urlsplit(server.url).password or "", "wrong")
        with pytest.raises(asyncpg.InvalidPasswordError):
            await run(wrong, "SELECT 1")
        listening = {
            connection.laddr.ip
            for connection in psutil.Process(server.pid).net_connections(kind="inet")
            if connection.status == psutil.CONN_LISTEN
        }
        password_mode = (folder / "password").stat().st_mode & 0o777

    assert listening == {"127.0.0.1"}
    assert password_mode == 0o600


def test_stop_ends_the_process(folder: Path) -> None:
    server = EmbeddedPostgres(folder=folder)
    server.start()
    pid = server.pid
    assert pid is not None
    server.stop()

    assert not psutil.pid_exists(pid)
    assert not server.is_running()


@as_root
def test_root_runs_the_server_as_nobody_and_changes_no_existing_folder(folder: Path) -> None:
    modes = {path: path.stat().st_mode for path in [folder.parent, *folder.parent.parents]}
    with EmbeddedPostgres(folder=folder) as server:
        user = psutil.Process(server.pid).username()
        data_mode = server.data.stat().st_mode & 0o777

    assert user == "nobody"
    assert data_mode == 0o700
    assert modes == {path: path.stat().st_mode for path in modes}


@as_root
def test_folder_that_the_server_cannot_reach_is_refused_in_one_line() -> None:
    private = Path(tempfile.mkdtemp())
    try:
        with pytest.raises(LocalError, match=r"nobody.*cannot pass.*HEADGATE_STATE_DIR") as caught:
            EmbeddedPostgres(folder=private / "postgres").start()
    finally:
        shutil.rmtree(private)

    assert "\n" not in str(caught.value)


@as_root
def test_user_without_an_entry_in_passwd_is_told_in_one_line() -> None:
    said = _run_as(54321)

    assert said.startswith("user id 54321 has no entry in /etc/passwd")
    assert len(said.splitlines()) == 1


@as_root
def test_ordinary_user_starts_a_server_in_folders_of_their_own() -> None:
    found = binaries.find_binaries()
    if not _is_open(found.folder):
        pytest.skip(f"only root can enter {found.folder}")
    said = _run_as(65534)

    assert said.startswith("started")


def test_data_of_a_version_without_programs_are_refused_in_one_line(folder: Path) -> None:
    data = folder / "data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("9\n")
    with pytest.raises(
        LocalError, match="written by Postgres 9, whose programs are not"
    ) as caught:
        EmbeddedPostgres(folder=folder).start()

    assert "\n" not in str(caught.value)


def test_programs_of_the_version_that_wrote_the_data_are_preferred() -> None:
    majors = {found.major for found in binaries._candidates()}
    chosen = {major: binaries.find_binaries(major=major).major for major in majors if major >= 15}

    assert chosen == {major: major for major in chosen}
    assert binaries.find_binaries().major == 18


def test_password_that_is_lost_is_told_in_one_line(folder: Path) -> None:
    with EmbeddedPostgres(folder=folder):
        pass
    (folder / "password").unlink()
    with pytest.raises(LocalError, match=r"password of the data in .* is missing"):
        EmbeddedPostgres(folder=folder).start()


def test_copied_programs_are_made_once_and_readable_by_all(tmp_path: Path) -> None:
    found = binaries.find_binaries(major=18)
    if not found.bundled:
        pytest.skip("this system has no wheel with Postgres programs")
    first = binaries.copy_readable(found, tmp_path / "shared")
    made_at = first.folder.stat().st_ino
    second = binaries.copy_readable(found, tmp_path / "shared")
    version = subprocess.run([second.folder / "initdb", "--version"], check=True, text=True)

    assert version.returncode == 0
    assert second.folder.stat().st_ino == made_at
    assert all(p.stat().st_mode & 0o005 == 0o005 for p in first.folder.parent.rglob("*"))
    assert [path.name for path in (tmp_path / "shared").iterdir()] == [
        path.name for path in (tmp_path / "shared").glob("binaries-*")
    ]


def test_folders_of_two_checkouts_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HEADGATE_STATE_DIR", raising=False)
    here = config.places().state
    monkeypatch.setattr(config, "CHECKOUT", Path("/elsewhere") / CHECKOUT.name)
    there = config.places().state

    assert here != there
    assert here.parent == there.parent


def test_parents_made_for_a_private_folder_can_be_passed_by_the_server(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b", mode=0o700)

    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700


def _is_open(path: Path) -> bool:
    return all(folder.stat().st_mode & 0o001 for folder in path.resolve().parents)


def _run_as(uid: int) -> str:
    known = [sys.executable, shutil.which("python3", path=os.defpath)]
    interpreters = [found for found in known if found and _is_open(Path(found))]
    if not interpreters:
        pytest.skip("only root can start this system's Python")
    done = subprocess.run(
        [sys.executable, "-c", AS_USER, str(uid), interpreters[0]],
        cwd=CHECKOUT,
        env={"PATH": os.defpath, "XDG_DATA_HOME": "/nonexistent", "TMPDIR": "/tmp"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout.strip()
