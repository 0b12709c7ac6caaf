"""The page of the planted bugs, from the files that plant them."""

from __future__ import annotations

from tests.mutants.catalogue import Mutant, load

_HEAD = """
# Planted bugs

Whether tests would notice a bug is found out by planting it. `make mutants` copies the tree, runs
the tests below without any bug, then plants the bugs one by one and runs the tests that must fail,
each by an assertion of the guarantee, not because something cannot be imported. It prints a table,
or JSON with `ARGS=--json`, and fails if one bug goes unnoticed. The bugs are files in
`tests/mutants`: exact text before and after. The numbers are those of the
[guarantees](guarantees.md).

| | bug | file | must be noticed by |
|---|---|---|---|
"""


def render_mutants(mark: str) -> str:
    """Returns the page."""
    return f"{mark}\n{_HEAD}" + "".join(map(_row, load()))


def _row(mutant: Mutant) -> str:
    files = dict.fromkeys(f"`{patch.file.removeprefix('services/')}`" for patch in mutant.patches)
    tests = [f"`{test.removeprefix('tests/')}`" for test in mutant.tests]
    cells = (str(mutant.guarantee), mutant.bug, "<br>".join(files), "<br>".join(tests))
    return f"| {' | '.join(cells)} |\n"
