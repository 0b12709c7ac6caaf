"""Plants each bug in a copy of the tree and runs the tests that must notice it.

A bug is caught if one of its tests fails by an assertion. Tests that cannot be collected, or break
in another way, have caught nothing. The tree without bugs must pass the same tests in that run.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.mutants.catalogue import ROOT, Mutant
from tests.tidy import tracked

TEST_SECONDS_MAX: Final = 300
# How an assertion's failure begins, in pytest's words.
ASSERTION: Final = re.compile(r"(AssertionError|assert |Failed: DID NOT RAISE|ExceptionGroup)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One test that failed."""

    test: str
    # What it said, in one line.
    message: str
    is_assertion: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of one bug."""

    mutant: Mutant
    caught: bool
    # Test and message; or why it was not caught.
    test: str
    message: str


@contextmanager
def scratch_tree() -> Iterator[Path]:
    """A copy of the tree, with what is not committed yet; the tree itself is never touched."""
    with tempfile.TemporaryDirectory(prefix="headgate-mutants-") as name:
        copy = Path(name)
        for path in tracked.files():
            target = copy / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, target)
        yield copy


def run_tests(root: Path, tests: Iterable[str]) -> list[Failure] | None:
    """Runs tests in a tree; returns the failures, or None if they could not be run."""
    report = root / "report.xml"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    try:
        process = subprocess.run(
            [*command, f"--junitxml={report}", *sorted(set(tests))],
            cwd=root,
            # Compiled files of one bug must not be taken for those of the next.
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            timeout=TEST_SECONDS_MAX,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None
    # 0: all passed, 1: some failed; anything else is no verdict.
    if process.returncode not in (0, 1) or not report.exists():
        return None
    return list(_failures(report))


def _failures(report: Path) -> Iterator[Failure]:
    # It comes from the process that was just run.
    for case in ET.parse(report).getroot().iter("testcase"):
        name = f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name')}"
        for kind in ("failure", "error"):
            for found in case.iter(kind):
                message = found.get("message") or ""
                yield Failure(
                    test=name,
                    message=" ".join(message.split())[:160],
                    is_assertion=kind == "failure" and bool(ASSERTION.match(message)),
                )


def judge(mutant: Mutant, root: Path) -> Verdict:
    """Plants one bug in the scratch tree, runs its tests, and takes it out again."""
    kept = {patch.file: (root / patch.file).read_bytes() for patch in mutant.patches}
    try:
        mutant.apply(root)
        failures = run_tests(root, mutant.tests)
    finally:
        for file, content in kept.items():
            (root / file).write_bytes(content)
    if failures is None:
        return Verdict(mutant=mutant, caught=False, test="", message="the tests could not be run")
    for failure in failures:
        if failure.is_assertion:
            return Verdict(mutant=mutant, caught=True, test=failure.test, message=failure.message)
    said = failures[0].message if failures else "every test passed"
    return Verdict(mutant=mutant, caught=False, test="", message=said)


def find_broken(mutants: Sequence[Mutant], root: Path) -> list[Failure] | None:
    """Runs the tests of all bugs without any bug; returns what fails all the same."""
    return run_tests(root, (test for mutant in mutants for test in mutant.tests))
