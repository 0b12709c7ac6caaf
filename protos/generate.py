"""Generates the Python stubs in headgate/api from the contracts in this folder.

Run as `python protos/generate.py [OUTPUT_ROOT]`; the default root is the repository's. A test
generates into a temporary folder and compares.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROTOS = Path(__file__).resolve().parent


def generate(root: Path) -> None:
    """Writes the stubs, their type hints and the packages' __init__ files below `root`."""
    root.mkdir(parents=True, exist_ok=True)
    files = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
    outputs = [f"--{kind}_out={root}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")]
    plugins = [
        f"--plugin=protoc-gen-{name}={Path(sys.executable).with_name(f'protoc-gen-{name}')}"
        for name in ("mypy", "mypy_grpc")
    ]
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTOS}", *plugins, *outputs, *files],
        check=True,
    )
    # A file without services yields an empty module: noise for readers.
    for path in (root / "headgate" / "api").rglob("*_pb2_grpc.py"):
        if "class " not in path.read_text():
            path.unlink()
            path.with_suffix(".pyi").unlink()
    # protoc writes no __init__ files; without them tools take the package for missing.
    for folder in {path.parent for path in (root / "headgate" / "api").rglob("*.py")}:
        (folder / "__init__.py").touch()
    for folder in (root / "headgate" / "api").glob("*"):
        if folder.is_dir() and folder.name != "__pycache__":
            (folder / "__init__.py").touch()
    (root / "headgate" / "api" / "__init__.py").touch()


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else PROTOS.parent)
