"""The SDK's types are right on every Python that it is for, present on this machine or not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[3]
CONFIG = """
[mypy]
strict = True
[mypy-headgate.api.*]
ignore_errors = True
"""


@pytest.mark.parametrize("minor", [10, 12, 13, 14])
def test_the_sdk_type_checks(minor: int, tmp_path: Path) -> None:
    # 3.11 is what the whole tree is checked for.
    config = tmp_path / "mypy.ini"
    config.write_text(CONFIG)
    options = (f"--python-version=3.{minor}", f"--config-file={config}", f"--cache-dir={tmp_path}")
    result = subprocess.run(
        [sys.executable, "-m", "mypy", *options, "-p", "headgate"],
        cwd=CHECKOUT,
        check=False,
        capture_output=True,
        text=True,
    )

    assert result.returncode == 0, result.stdout + result.stderr
