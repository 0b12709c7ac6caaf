"""Generates the Python stubs in headgate/api from the contracts in this folder.

Run as `python protos/generate.py [OUTPUT_ROOT]`; the default root is the repository's. A test
generates into a temporary folder and compares. `--image FILE` writes the contracts as one set of
descriptors instead, for the tools that check them.
"""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

PROTOS = Path(__file__).resolve().parent
# Where Google's contracts lie that ours import: those of the HTTP paths.
IMPORTED = metadata.distribution("googleapis-common-protos").locate_file("")


def generate(root: Path) -> None:
    """Writes the stubs, their type hints and the packages' __init__ files below `root`."""
    root.mkdir(parents=True, exist_ok=True)
    outputs = [f"--{kind}_out={root}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")]
    plugins = [
        f"--plugin=protoc-gen-{name}={Path(sys.executable).with_name(f'protoc-gen-{name}')}"
        for name in ("mypy", "mypy_grpc")
    ]
    _run_protoc(PROTOS, *plugins, *outputs)
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


def write_image(image: Path, *, protos: Path = PROTOS) -> None:
    """Writes the contracts, their comments and all that they import to one file."""
    _run_protoc(
        protos, "--include_imports", "--include_source_info", f"--descriptor_set_out={image}"
    )


def _run_protoc(protos: Path, *options: str) -> None:
    files = sorted(str(path.relative_to(protos)) for path in protos.rglob("*.proto"))
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", f"-I{protos}", f"-I{IMPORTED}"]
        + [*options, *files],
        check=True,
    )


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--image", file]:
            write_image(Path(file))
        case [root]:
            generate(Path(root))
        case _:
            generate(PROTOS.parent)
