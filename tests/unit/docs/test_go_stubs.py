"""Go stubs come out of the contracts, by the command that the page of clients shows."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[3]
PLUGINS: Final = ("protoc-gen-go", "protoc-gen-go-grpc")


@pytest.mark.skipif(
    any(shutil.which(each) is None for each in PLUGINS),
    reason="there are no generators of Go stubs on this machine",
)
def test_go_stubs_are_generated(tmp_path: Path) -> None:
    subprocess.run(
        ["make", "-s", "go-stubs", f"OUT={tmp_path}", "MODULE=example.com/yours/headgate"],
        cwd=ROOT,
        check=True,
        timeout=120,
    )
    package = tmp_path / "headgate" / "api" / "gateway" / "v1"

    assert "NewGatewayServiceClient" in (package / "gateway_grpc.pb.go").read_text()
    assert (
        '"example.com/yours/headgate/headgate/api/common/v1"'
        in (package / "gateway.pb.go").read_text()
    )
