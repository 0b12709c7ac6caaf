"""What the readers of all kinds share: they collect everything that is wrong with a document."""

from __future__ import annotations

import enum
import re
from collections.abc import Collection
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from headgate.cli.config import WrongUse
from headgate.cli.route_files import parse_whole

if TYPE_CHECKING:
    from collections.abc import Iterator

E = TypeVar("E", bound=enum.Enum)

_FLAGS: Final = {"true": True, "false": False}
_OPTION: Final = re.compile(r"--([a-z]+(?:-[a-z]+)*)")


class Reader:
    """Reads members of a document; what it can't read is in `wrong`, as "path: problem"."""

    def __init__(self) -> None:
        self.wrong: list[str] = []

    def refuse(self, path: str, problem: str) -> None:
        """Notes what is wrong at a place."""
        self.wrong.append(f"{path}: {problem}")

    def fields(self, path: str, given: Any, known: Collection[str]) -> dict[str, Any]:
        """Returns a member's names and values; empty if it has none."""
        if not isinstance(given, dict):
            self.refuse(path, "must have names and values")
            return {}
        for name in given:
            if name not in known:
                self.refuse(f"{path}.{name}", "is not known")
        return given

    def text(self, path: str, given: dict[str, Any], name: str, *, required: bool = False) -> str:
        """Returns a text; empty if there is none."""
        value: object = given.get(name, "")
        if not isinstance(value, str):
            self.refuse(f"{path}.{name}", "must be a text")
            return ""
        if required and not value:
            self.refuse(f"{path}.{name}", "required")
        return value

    def texts(self, path: str, given: dict[str, Any], name: str) -> list[str]:
        """Returns a list of texts."""
        value = given.get(name, [])
        if isinstance(value, list) and all(isinstance(each, str) for each in value):
            return value
        self.refuse(f"{path}.{name}", "must be a list of texts")
        return []

    def pairs(self, path: str, given: dict[str, Any], name: str) -> dict[str, str]:
        """Returns texts by name."""
        value = given.get(name, {})
        if isinstance(value, dict) and all(isinstance(each, str) for each in value.values()):
            return value
        self.refuse(f"{path}.{name}", "must have names and texts")
        return {}

    def members(self, path: str, given: dict[str, Any], name: str) -> list[Any]:
        """Returns a list of whatever."""
        value = given.get(name, [])
        if isinstance(value, list):
            return value
        self.refuse(f"{path}.{name}", "must be a list")
        return []

    def choice(self, path: str, given: dict[str, Any], name: str, default: E) -> E:
        """Returns the member of the default's enum that a text names."""
        value = given.get(name, default.value)
        for each in type(default):
            if each.value == value:
                return each
        words = ", ".join(str(each.value) for each in type(default))
        self.refuse(f"{path}.{name}", f"{value!r} is none of {words}")
        return default

    def flag(self, path: str, given: dict[str, Any], name: str, *, required: bool = False) -> bool:
        """Returns whether a text is "true"."""
        value = given.get(name, "" if required else "false")
        if not (isinstance(value, str) and value in _FLAGS):
            self.refuse(f"{path}.{name}", "must be true or false")
            return False
        return _FLAGS[value]

    def whole(self, path: str, value: Any, default: int = 0) -> int:
        """Returns a whole number, which None stands for the default of."""
        if value is None:
            return default
        number = parse_whole(value) if isinstance(value, str) else None
        if number is None:
            self.refuse(path, f"{value!r} is no whole number")
        return number or 0

    @contextmanager
    def option(self, path: str) -> Iterator[None]:
        """Notes what a parser of the command line's options finds wrong, in the file's words."""
        try:
            yield
        except WrongUse as error:
            problem = _OPTION.sub(lambda found: found[1].replace("-", "_"), error.format_message())
            self.refuse(path, problem.removeprefix(f"{path.rpartition('.')[2]}: "))
