"""Some things are done in one place only."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.tidy import tracked

# Where a process of ours may look at its environment.
ENVIRONMENT_READERS: Final = re.compile(r"(^|/)config\.py$")
ENVIRONMENT_NAMES: Final = frozenset({"environ", "environb", "getenv", "getenvb"})
# The only module that makes servers, so that all of them answer, refuse and drain alike; and the
# fake, which has to be cut off like a gateway that is killed.
SERVER_MAKERS: Final = frozenset({Path("chassis/server.py"), Path("headgate/testing/wires.py")})
# The only modules that end an RPC with a status.
STATUS_SENDER: Final = Path("chassis")


def names_in(path: Path) -> Iterator[tuple[str, str]]:
    """Yields (module, attribute) of every attribute access and every import from a module."""
    for node in ast.walk(tracked.tree(path)):
        if isinstance(node, ast.Attribute):
            yield ast.unparse(node.value), node.attr
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", name.name) for name in node.names)


def test_only_configuration_modules_read_the_environment() -> None:
    readers = [
        str(path)
        for path in tracked.python(*tracked.PRODUCTION, "local")
        if not ENVIRONMENT_READERS.search(str(path))
        and any(
            module == "os" and attribute in ENVIRONMENT_NAMES
            for module, attribute in names_in(path)
        )
    ]

    assert readers == []


def test_only_the_chassis_makes_grpc_servers() -> None:
    makers = [
        str(path)
        for path in tracked.python(*tracked.PRODUCTION, "local")
        if path not in SERVER_MAKERS
        and any(
            attribute == "server" and module in ("grpc.aio", "aio", "grpc")
            for module, attribute in names_in(path)
        )
    ]

    assert makers == []


def test_only_the_chassis_ends_an_rpc_with_a_status() -> None:
    senders = [
        str(path)
        for path in tracked.python("services", "gateway")
        if any(
            attribute in ("abort", "abort_with_status", "set_code", "set_details")
            for _, attribute in names_in(path)
        )
    ]

    assert senders == []


def test_no_todo_is_left_behind() -> None:
    # Spelled apart, or this file would be its own offender.
    marks = re.compile("|".join(("TO" + "DO", "FIX" + "ME", "X" * 3)))
    marked = [
        str(path)
        for path in tracked.files()
        if path.suffix in (".py", ".sql", ".proto", ".yaml", ".md")
        and not path.is_relative_to(tracked.GENERATED)
        and marks.search(tracked.text(path) or "")
    ]

    assert marked == []
