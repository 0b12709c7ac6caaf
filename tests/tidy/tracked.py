"""The files of the repository: what is committed and what would be by the next commit."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
# Written by the generator; only their freshness is tested.
GENERATED: Final = Path("headgate/api")
# What runs in production. Tests, benches and local tools may do what these must not.
PRODUCTION: Final = ("headgate", "chassis", "services", "gateway")


@cache
def files() -> tuple[Path, ...]:
    """Paths of all files, relative to the root, in order; ignored ones are left out."""
    # A checkout may belong to another user than the one who tests it.
    listing = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "-co", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    paths = {Path(name) for name in listing.split("\0") if name}
    return tuple(sorted(path for path in paths if (ROOT / path).is_file()))


def python(*folders: str) -> Iterator[Path]:
    """Hand-written Python files, in the given top folders or in all."""
    for path in files():
        if path.suffix != ".py" or path.is_relative_to(GENERATED):
            continue
        if not folders or path.parts[0] in folders:
            yield path


@cache
def text(path: Path) -> str | None:
    """The content of a text file, None if it is binary."""
    try:
        return (ROOT / path).read_bytes().decode()
    except UnicodeDecodeError:
        return None


@cache
def tree(path: Path) -> ast.Module:
    """The syntax tree of a Python file."""
    return ast.parse((ROOT / path).read_text(), filename=str(path))


@cache
def tests() -> dict[str, frozenset[str]]:
    """Names of all test functions and test classes, by the path of their file."""
    return {str(path): frozenset(_test_names(tree(path))) for path in python("tests")}


def _test_names(module: ast.Module) -> Iterator[str]:
    for node in ast.walk(module):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                if name.startswith("test_"):
                    yield name
            case ast.ClassDef(name=name) | ast.Assign(targets=[ast.Name(id=name)]):
                # A state machine becomes a test by such an assignment.
                if name.startswith("Test"):
                    yield name


def is_test(reference: str) -> bool:
    """Tells whether `name`, `path` or `path::name` names a test that exists.

    A path may leave out the leading `tests/`.
    """
    path, _, name = reference.partition("::")
    if not path.endswith(".py"):
        return any(path in names for names in tests().values())
    known = tests().get(f"tests/{path.removeprefix('tests/')}", frozenset())
    return name in known if name else bool(known)
