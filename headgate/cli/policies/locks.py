"""A lock file: the checksums of reviewed files, as `sha256sum` writes and checks them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from headgate.cli.policies.documents import BadPolicyError
from headgate.cli.policies.sets import read_bytes

LOCK_NAME: Final = "policy.lock"
_LINE: Final = re.compile(r"([0-9a-f]{64})  (\S.*)")


def write_lock(path: Path, files: Iterable[Path]) -> None:
    """Writes the checksums of files, named from the lock file's folder. Raises BadPolicyError."""
    sums = {_name(path, file): _checksum(file) for file in files}
    text = "".join(f"{checksum}  {name}\n" for name, checksum in sorted(sums.items()))
    try:
        path.write_text(text)
    except OSError as error:
        raise BadPolicyError(f"{path}: {error.strerror}") from None


def read_lock(path: Path) -> Mapping[str, str]:
    """Returns the checksum of each file by its name. Raises BadPolicyError."""
    try:
        lines = read_bytes(path).decode().splitlines()
    except UnicodeDecodeError:
        raise BadPolicyError(f"{path}: is no UTF-8") from None
    sums: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        found = _LINE.fullmatch(line)
        if found is None or found[2] in sums:
            raise BadPolicyError(f"{path}:{number}: is no checksum and name, each file once")
        sums[found[2]] = found[1]
    if not sums:
        raise BadPolicyError(f"{path}: names no file")
    return sums


def check_lock(path: Path, files: Iterable[Path]) -> list[str]:
    """Returns every file that is not what the lock file says. Raises BadPolicyError."""
    locked = dict(read_lock(path))
    wrong = []
    for file in files:
        expected = locked.pop(_name(path, file), None)
        if expected is None:
            wrong.append(f"{file}: is not in {path}")
        elif expected != _checksum(file):
            wrong.append(f"{file}: is not what {path} says: it was changed since")
    return wrong + [f"{path.parent / name}: is in {path} and not there" for name in locked]


def locked_files(path: Path) -> list[Path]:
    """Returns the files that a lock file names. Raises BadPolicyError."""
    return [path.parent / name for name in read_lock(path)]


def _name(path: Path, file: Path) -> str:
    try:
        return file.resolve().relative_to(path.parent.resolve()).as_posix()
    except ValueError:
        raise BadPolicyError(f"{file}: is not below the folder of {path}") from None


def _checksum(file: Path) -> str:
    return hashlib.sha256(read_bytes(file)).hexdigest()
