from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from local.config import CHECKOUT

MAKEFILE = CHECKOUT / "Makefile"


def make(*words: str, folder: Path = CHECKOUT) -> subprocess.CompletedProcess[str]:
    # Not the variables of the `make` that may be running these tests.
    environment = {"PATH": os.defpath, "HOME": str(folder)}
    return subprocess.run(
        ["make", "-C", str(folder), *words],
        check=False,
        capture_output=True,
        text=True,
        env=environment,
    )


def test_make_alone_lists_every_target_that_is_for_people() -> None:
    shown = make().stdout

    targets = set(re.findall(r"^\.PHONY: (\S+)$", MAKEFILE.read_text(), re.MULTILINE))
    listed = set(re.findall(r"^  make (\S+)", shown, re.MULTILINE))
    assert listed == targets - {"help", "coverage"}


def test_without_a_fitting_python_setup_says_what_to_install(tmp_path: Path) -> None:
    shutil.copy(MAKEFILE, tmp_path)
    shutil.copytree(CHECKOUT / "requirements", tmp_path / "requirements")
    result = make("setup", "INTERPRETERS=no-such-python", folder=tmp_path)

    assert result.returncode != 0
    assert "no Python 3.11 or newer with venv: install python3" in result.stderr


def test_continuous_integration_runs_what_a_developer_runs() -> None:
    script = CHECKOUT / ".ci" / "run"

    assert os.access(script, os.X_OK)
    assert "exec make test" in script.read_text()
