"""Modules are named for what they hold, never for their kind."""

from __future__ import annotations

from typing import Final

from tests.tidy import tracked

FORBIDDEN: Final = frozenset(
    {"utils", "util", "common", "helpers", "helper", "manager", "models", "types", "service"}
    | {"misc", "shared", "base", "lib"}
)


def test_no_module_is_named_for_its_kind() -> None:
    badly_named = [
        str(path)
        for path in tracked.python()
        if FORBIDDEN & {path.stem, *(part for part in path.parts[:-1])}
    ]

    assert badly_named == []


def test_every_package_has_a_docstring_or_only_marks_a_folder() -> None:
    undocumented = [
        str(path)
        for path in tracked.python(*tracked.PRODUCTION)
        if path.name == "__init__.py"
        and (tracked.text(path) or "").strip()
        and not (tracked.text(path) or "").startswith(('"""', 'r"""'))
    ]

    assert undocumented == []
