from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

from local.accounts import server_account
from local.children import spawn
from local.config import CHECKOUT


def test_starting_a_program_runs_no_fork_handler() -> None:
    """gRPC's handlers crash a child now and then, so none may run on the way to a program."""
    program = textwrap.dedent("""
        import os, signal, subprocess
        os.register_at_fork(before=lambda: print("forked", flush=True))
        from local.children import spawn
        child = spawn(["/bin/echo", "ran"], account=None, environment={}, output=subprocess.PIPE,
                      death_signal=signal.SIGKILL)
        print(child.communicate()[0].decode())
    """)
    said = subprocess.run(
        [sys.executable, "-c", program], cwd=CHECKOUT, capture_output=True, text=True, check=True
    ).stdout

    assert said.split() == ["ran"]


def test_a_program_runs_as_its_account() -> None:
    account = server_account()
    child = spawn(
        ["/usr/bin/id", "-u"],
        account=account,
        environment={},
        output=subprocess.PIPE,
        death_signal=signal.SIGKILL,
    )

    assert int(child.communicate()[0]) == (os.getuid() if account is None else account.uid)


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    child = spawn(
        [missing],
        account=None,
        environment={},
        output=subprocess.PIPE,
        death_signal=signal.SIGKILL,
    )
    said = child.communicate()[0].decode()

    assert said == f"can't start {missing}: No such file or directory\n"
    assert child.returncode == 1
