"""Nothing is longer than one can read in one go."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.tidy import tracked

FILE_LINES_MAX: Final = 300
FUNCTION_LINES_MAX: Final = 50
# An RPC method parses, calls the use case and renders.
RPC_LINES_MAX: Final = 12
MAIN_LINES_MAX: Final = 120
SIZED_SUFFIXES: Final = (".py", ".proto", ".sql")

# Files that may be longer, each with its reason.
LONG_FILES: Final = {
    "protos/headgate/api/accounting/v1/accounting.proto": "a service's contract is one file",
    "protos/headgate/api/health/v1/health.proto": "a service's contract is one file",
    "protos/headgate/api/admission/v1/admission.proto": "a service's contract is one file",
    "protos/headgate/api/gateway/v1/gateway.proto": "a service's contract is one file",
    "protos/headgate/api/gateway/v1/admin.proto": "a service's contract is one file",
    "protos/headgate/api/gateway/v1/staff.proto": "a service's contract is one file",
}
# Functions that may be longer, as `path::name`, each with its reason.
LONG_FUNCTIONS: Final[dict[str, str]] = {
    "headgate/cli/limits.py::set_limit": "its signature lists the options of a command",
    "headgate/cli/routes.py::set_route": "its signature lists the options of a command",
}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(path: Path) -> Iterator[Function]:
    for node in ast.walk(tracked.tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def lines_of(function: Function) -> int:
    assert function.end_lineno is not None
    return function.end_lineno - function.lineno + 1


def body_lines_of(function: Function) -> int:
    """Lines without the signature, which the contract's names make long."""
    assert function.end_lineno is not None
    return function.end_lineno - function.body[0].lineno + 1


def test_no_file_is_longer_than_one_can_read_in_one_go() -> None:
    too_long = {
        str(path): count
        for path in tracked.files()
        if path.suffix in SIZED_SUFFIXES and not path.is_relative_to(tracked.GENERATED)
        if (count := len((tracked.text(path) or "").splitlines())) > FILE_LINES_MAX
        and str(path) not in LONG_FILES
    }

    assert too_long == {}


def test_no_function_is_longer_than_a_screen() -> None:
    too_long = {
        f"{path}::{function.name}": lines_of(function)
        for path in tracked.python()
        for function in functions(path)
        if lines_of(function) > FUNCTION_LINES_MAX
        and f"{path}::{function.name}" not in LONG_FUNCTIONS
    }

    assert too_long == {}


def test_an_rpc_method_only_parses_calls_and_renders() -> None:
    too_long = {
        f"{path}::{function.name}": body_lines_of(function)
        for path in tracked.python("services", "gateway")
        if path.stem.endswith("servicer")
        for function in functions(path)
        if function.name[0].isupper() and body_lines_of(function) > RPC_LINES_MAX
    }

    assert too_long == {}


def test_a_main_module_is_wiring() -> None:
    too_long = {
        str(path): count
        for path in tracked.python("services", "gateway")
        if path.name == "__main__.py"
        if (count := len((tracked.text(path) or "").splitlines())) > MAIN_LINES_MAX
    }

    assert too_long == {}


@pytest.mark.parametrize("path", LONG_FILES)
def test_the_list_of_long_files_holds_only_long_files(path: str) -> None:
    assert len((tracked.text(Path(path)) or "").splitlines()) > FILE_LINES_MAX
