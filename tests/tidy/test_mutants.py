"""Every planted bug still fits the code, breaks a stated guarantee, and names tests that exist."""

from __future__ import annotations

import re

import pytest

from tests.mutants.catalogue import FOLDER, Mutant, load
from tests.tidy import tracked

MUTANTS = load()
GUARANTEE_COUNT = 18


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_each_planted_bug_fits_the_code(mutant: Mutant) -> None:
    texts: dict[str, str] = {}
    for patch in mutant.patches:
        text = texts.get(patch.file, (tracked.ROOT / patch.file).read_text())
        assert text.count(patch.before) == 1, patch.before
        texts[patch.file] = text.replace(patch.before, patch.after)
        assert texts[patch.file] != text
    for file, text in texts.items():
        if file.endswith(".py"):
            compile(text, file, "exec")


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_bug_in_a_migration_is_in_the_newest_that_has_the_text(mutant: Mutant) -> None:
    """What a later one replaces is planted in vain."""
    for patch in mutant.patches:
        path = tracked.ROOT / patch.file
        if path.parent.name == "migrations":
            having = [
                each.name for each in path.parent.iterdir() if patch.before in each.read_text()
            ]
            assert max(having) == path.name


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_each_planted_bug_names_a_guarantee_and_tests_that_exist(mutant: Mutant) -> None:
    assert 1 <= mutant.guarantee <= GUARANTEE_COUNT
    assert mutant.tests
    assert [test for test in mutant.tests if not tracked.is_test(test)] == []
    assert re.fullmatch(r"[A-Z].*\.", mutant.bug)


def test_every_file_of_the_folder_is_a_planted_bug() -> None:
    assert {mutant.name for mutant in MUTANTS} == {path.stem for path in FOLDER.glob("*.toml")}
    assert len(MUTANTS) >= 16
