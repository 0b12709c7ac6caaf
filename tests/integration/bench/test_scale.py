"""The bench of growing databases runs, fills what it says, and draws what it measured."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.postgres import CHECKOUT

SIZES = {"scopes": [4, 40], "holds": [0, 50], "finished": [0, 90]}


@pytest.mark.parametrize("name", SIZES)
def test_a_small_curve_is_measured_and_drawn(name: str, tmp_path: Path) -> None:
    picture = tmp_path / "scale.svg"
    sizes = ",".join(map(str, SIZES[name]))

    run = subprocess.run(
        [
            sys.executable, "-m", "bench.scale", "--json", "--seconds", "3", "--only", name,
            f"--{name}", sizes, "--picture", str(picture),
        ],
        cwd=CHECKOUT, capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip

    assert run.returncode == 0, run.stderr[-2000:]
    points = json.loads(run.stdout)[name]
    assert [point["size"] for point in points] == SIZES[name]
    assert all(point["admission_us"] > 0 and point["p50_ms"] > 0 for point in points)
    assert f"{SIZES[name][-1]:,}" in "".join(ElementTree.parse(picture).getroot().itertext())
