"""Shells complete the command `headgate`: what `--install-completion` installs, asked directly."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

ASKED = {
    "bash": {"COMP_WORDS": "headgate ki", "COMP_CWORD": "1"},
    "zsh": {"_TYPER_COMPLETE_ARGS": "headgate ki"},
    "fish": {"_TYPER_COMPLETE_ARGS": "headgate ki", "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
}


@pytest.mark.parametrize("shell", ASKED)
def test_a_shell_completes_a_command(shell: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "headgate"],
        env=os.environ | ASKED[shell] | {"_HEADGATE_COMPLETE": f"complete_{shell}"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert "kill" in done.stdout
    assert "limits" not in done.stdout
