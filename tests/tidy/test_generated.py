"""What is generated and committed is what the generators write now."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from protos import generate
from tests.tidy import tracked

BUF = Path(sys.executable).with_name("buf")


def files_below(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_committed_stubs_are_fresh(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, tracked.ROOT / "protos/generate.py", tmp_path], check=True, cwd=tmp_path
    )

    committed = files_below(tracked.ROOT / "headgate/api")
    generated = files_below(tmp_path / "headgate/api")
    assert {name for name in committed if committed[name] != generated.get(name)} == set()
    assert committed.keys() == generated.keys()


def test_the_committed_reference_pages_are_fresh(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "docs.generate", tmp_path],
        check=True,
        cwd=tracked.ROOT,
    )

    pages = [path for path in sorted(tmp_path.rglob("*")) if path.is_file()]
    assert len(pages) == 5
    for page in pages:
        name = page.relative_to(tmp_path)
        assert (tracked.ROOT / name).read_text() == page.read_text(), f"run `make docs`: {name}"


def find_breaking_changes(protos: Path, scratch: Path) -> str:
    """What `protos` changes so that clients of the last release would break; empty: nothing."""
    image = scratch / "contracts.binpb"
    generate.write_image(image, protos=protos)
    options = ["--config", "buf.yaml", "--path", "headgate", "--against", "image.binpb"]
    result = subprocess.run(
        [BUF, "breaking", image, *options],
        cwd=tracked.ROOT / "protos",
        check=False,
        capture_output=True,
        text=True,
    )
    assert bool(result.returncode) == bool(result.stdout), result.stderr
    return result.stdout


def test_the_contracts_break_no_client_of_the_last_release(tmp_path: Path) -> None:
    assert find_breaking_changes(tracked.ROOT / "protos", tmp_path) == ""


def test_a_renumbered_field_would_be_found(tmp_path: Path) -> None:
    shutil.copytree(tracked.ROOT / "protos", tmp_path / "protos")
    contract = tmp_path / "protos/headgate/api/gateway/v1/gateway.proto"
    text = contract.read_text()
    contract.write_text(text.replace("string call_id = 1;", "string call_id = 99;", 1))

    assert "call_id" in find_breaking_changes(tmp_path / "protos", tmp_path)
