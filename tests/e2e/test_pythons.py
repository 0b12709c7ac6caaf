"""The SDK as backends install it, with its own dependencies only, on every Python that is here."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
SMOKE = CHECKOUT / "tests/e2e/smoke.py"
UV = Path(sys.executable).with_name("uv")
MINORS = (10, 11, 12, 13, 14)
BACKEND = """
import headgate


@headgate.governed("summarize", on_refused="fallback")
def summarize(call: headgate.SyncCall, text: str) -> str:
    call.report(output_tokens=1)
    return text


def test_the_plugin_is_there(headgate_gateway):
    assert summarize("text") == "text"
    headgate_gateway.ledger.killed = True
    assert summarize("text") == headgate_gateway.ledger.fallback_text
"""


def find_interpreter(minor: int) -> str:
    """Skips the test if this Python is not here."""
    name = f"python3.{minor}"
    found = shutil.which(name)
    places = [
        *([Path(found)] if found else []),
        *Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/python"),
    ]
    for place in places:
        # Some version managers put a name on the path for what they do not have.
        answer = subprocess.run([place, "-c", ""], capture_output=True, check=False)
        if answer.returncode == 0:
            return str(place)
    pytest.skip(f"{name} is not on this machine")


def run(*words: str | Path, folder: Path) -> str:
    result = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.mark.slow
@pytest.mark.parametrize("minor", MINORS)
def test_the_sdk_works_where_it_is_installed(minor: int, tmp_path: Path) -> None:
    interpreter = find_interpreter(minor)
    python = tmp_path / "environment/bin/python"
    run(UV, "venv", "-q", "-p", interpreter, "environment", folder=tmp_path)
    run(UV, "pip", "install", "-q", "-p", python, CHECKOUT, folder=tmp_path)

    installed = run(UV, "pip", "list", "-q", "-p", python, folder=tmp_path)
    names = {line.split()[0] for line in installed.splitlines()[2:]}
    # typing-extensions comes with grpcio.
    assert names <= {
        *("headgate", "grpcio", "protobuf", "googleapis-common-protos", "typing-extensions"),
    }
    shutil.copy(SMOKE, tmp_path)
    # Not from the checkout, and without a warning.
    told = run(python, "-I", "-W", "error", tmp_path / "smoke.py", folder=tmp_path)
    assert told.startswith(f"well on 3.{minor}.")

    run(UV, "pip", "install", "-q", "-p", python, "pytest", folder=tmp_path)
    (tmp_path / "test_backend.py").write_text(BACKEND)
    assert "1 passed" in run(python, "-m", "pytest", "-q", "test_backend.py", folder=tmp_path)


@pytest.mark.parametrize("minor", MINORS)
def test_the_sdk_is_typed_for_every_python(minor: int) -> None:
    run(
        *(sys.executable, "-m", "mypy", "--python-version", f"3.{minor}"),
        *("-p", "headgate"),
        folder=CHECKOUT,
    )
