"""The front page shows what is there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

import pytest

ROOT: Final = Path(__file__).resolve().parents[3]
README: Final = (ROOT / "README.md").read_text()
PAGES: Final = sorted(
    str(path.relative_to(ROOT)) for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
)
TARGET: Final = re.compile(r"^([a-z][\w-]*):(?!=)", re.MULTILINE)
COMMAND: Final = re.compile(r"\bmake ([a-z]+(?: [a-z]+)*)(?=`|\s+#|$)", re.MULTILINE)


def makefile_targets() -> set[str]:
    return set(TARGET.findall((ROOT / "Makefile").read_text()))


def code_of(path: str) -> str:
    """What the page shows as code: in backquotes, in fences or indented."""
    text = (ROOT / path).read_text()
    inline = re.findall(r"`[^`\n]+`", text)
    indented = re.findall(r"^ {4}.+$", text, re.MULTILINE)
    return "\n".join([*inline, *indented])


def test_the_examples_are_those_that_are_tested() -> None:
    programs = [path.read_text() for path in (ROOT / "examples").glob("*.py")]
    shown = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    # What ends in an ellipsis only shows a signature.
    whole = [each for each in shown if not each.rstrip().endswith("...")]

    assert len(whole) == 2
    for each in whole:
        assert any(each in program for program in programs)
        assert len(each.splitlines()) <= 18


@pytest.mark.parametrize("page", PAGES)
def test_every_make_target_that_a_page_names_exists(page: str) -> None:
    named = {word for words in COMMAND.findall(code_of(page)) for word in words.split()}

    assert named - makefile_targets() == set()


def test_the_commands_of_the_front_page_are_found_by_that_test() -> None:
    named = {word for words in COMMAND.findall(code_of("README.md")) for word in words.split()}

    assert {"up", "demo", "test", "bench"} <= named


def test_the_picture_is_well_formed_and_has_words_for_those_who_can_not_see_it() -> None:
    picture = ElementTree.parse(ROOT / "docs/shape.svg").getroot()
    namespace = "{http://www.w3.org/2000/svg}"

    assert picture.find(f"{namespace}title") is not None
    assert picture.find(f"{namespace}desc") is not None
    assert re.search(r"!\[[^\]]{40,}\]\(docs/shape\.svg\)", README)
