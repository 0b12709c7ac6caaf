"""The planted bugs, as they are written in this folder: one file of TOML each."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent
ROOT: Final = FOLDER.parents[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """One exact replacement in one file."""

    file: str
    before: str
    after: str

    def apply(self, root: Path) -> None:
        """Changes the file below `root`. Raises ValueError unless it fits exactly once."""
        path = root / self.file
        text = path.read_text()
        if text.count(self.before) != 1:
            raise ValueError(f"{self.file} holds {text.count(self.before)} times: {self.before}")
        path.write_text(text.replace(self.before, self.after))


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One planted bug."""

    name: str
    # Number of the guarantee that it breaks.
    guarantee: int
    # What it does, in a sentence.
    bug: str
    # Those that must fail: `path` or `path::name`.
    tests: tuple[str, ...]
    patches: tuple[Patch, ...]

    def apply(self, root: Path) -> None:
        """Plants the bug in the tree below `root`."""
        for patch in self.patches:
            patch.apply(root)


def load() -> list[Mutant]:
    """All planted bugs, by guarantee and name."""
    mutants = [_read(path) for path in FOLDER.glob("*.toml")]
    return sorted(mutants, key=lambda mutant: (mutant.guarantee, mutant.name))


def _read(path: Path) -> Mutant:
    fields = tomllib.loads(path.read_text())
    patches = [{name: _trim(text) for name, text in each.items()} for each in fields["patch"]]
    return Mutant(
        name=path.stem,
        guarantee=fields["guarantee"],
        bug=fields["bug"],
        tests=tuple(fields["tests"]),
        patches=tuple(Patch(**each) for each in patches),
    )


def _trim(text: str) -> str:
    # Blocks end with a line break of their own.
    return text.removesuffix("\n")
