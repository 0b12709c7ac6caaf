"""Sets of policies: what files say, and what is in force, by kind and name."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from headgate.cli.policies.channels import CHANNELS
from headgate.cli.policies.documents import API_VERSION, BadPolicyError, Document, parse_document
from headgate.cli.policies.limits import LIMITS
from headgate.cli.policies.orgs import ORGS
from headgate.cli.policies.prices import PRICES
from headgate.cli.policies.reading import Reader
from headgate.cli.policies.routes import ROUTES
from headgate.cli.policies.templates import TEMPLATES
from headgate.cli.policies.toggles import TOGGLES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from headgate.cli.policies.kinds import Kind

STDIN: Final = "-"
# In the order in which an export writes them.
KINDS: Final[dict[str, Kind[Any]]] = {
    kind.name: kind for kind in (ORGS, LIMITS, TOGGLES, PRICES, TEMPLATES, ROUTES, CHANNELS)
}
_SUFFIXES: Final = frozenset({".yaml", ".yml", ".json"})


@dataclass(frozen=True)
class Member:
    """One policy of a file."""

    kind: Kind[Any]
    message: Any
    document: Document
    # Of it in the document, such as "limits[3]".
    path: str

    @property
    def key(self) -> str:
        """Its name among those of its kind."""
        return str(self.kind.key(self.message))

    def complain(self, rest: str, problem: str) -> str:
        """Returns what is wrong with a part of it, and where that stands."""
        return f"{self.document.place(self.path + rest)}: {problem}"


@dataclass(frozen=True)
class PolicySet:
    """What all files together say. A kind that no file has a section of is not among them."""

    members: dict[str, dict[str, Member]] = field(default_factory=dict)


def find_files(paths: Iterable[Path]) -> list[Path]:
    """Returns the files that paths name; of a folder, its YAML and JSON files and those below.

    Raises BadPolicyError.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = [each for each in sorted(path.rglob("*")) if each.suffix in _SUFFIXES]
            if not inside:
                raise BadPolicyError(f"{path}: has no file of policies")
            files += [each for each in inside if each.is_file()]
        else:
            files.append(path)
    return files


def read_policies(paths: Sequence[Path]) -> PolicySet:
    """Returns what files say. Raises BadPolicyError with everything that is wrong with them."""
    wrong: list[str] = []
    found = PolicySet()
    for path in find_files(paths):
        try:
            wrong += _add(found, parse_document(str(path), read_bytes(path)))
        except BadPolicyError as error:
            wrong.append(str(error))
    if wrong:
        raise BadPolicyError("\n".join(wrong))
    return found


def read_bytes(path: Path) -> bytes:
    """Returns what a file, or the standard input, holds. Raises BadPolicyError."""
    try:
        return sys.stdin.buffer.read() if str(path) == STDIN else path.read_bytes()
    except OSError as error:
        raise BadPolicyError(f"{path}: {error.strerror}") from None


def _add(found: PolicySet, document: Document) -> list[str]:
    wrong: list[str] = []
    for section, given in document.content.items():
        kind = KINDS.get(section)
        if kind is not None:
            wrong += _add_section(found, document, kind, given)
        elif section != "apiVersion":
            known = ", ".join(KINDS)
            wrong.append(f"{document.place(section)}: is not known; {API_VERSION} has {known}")
    return wrong


def _add_section(found: PolicySet, document: Document, kind: Kind[Any], given: Any) -> list[str]:
    if not isinstance(given, list):
        return [f"{document.place(kind.name)}: must be a list"]
    members = found.members.setdefault(kind.name, {})
    wrong: list[str] = []
    for place, each in enumerate(given):
        reader = Reader()
        path = f"{kind.name}[{place}]"
        member = Member(kind, kind.read(reader, path, each), document, path)
        for problem in reader.wrong:
            at, _, words = problem.partition(": ")
            wrong.append(f"{document.place(at)}: {words}")
        earlier = members.setdefault(member.key, member)
        if earlier is not member and not reader.wrong:
            there = earlier.document.place(earlier.path)
            wrong.append(member.complain("", f"{member.key} is there already, at {there}"))
    return wrong
