"""What is promised is tested, and what is used is documented."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path
from typing import Final

import pytest

from tests.tidy import tracked

# Packages whose docstring is a contract: a numbered list of promises, each naming its test.
PROMISING: Final = (
    "headgate/__init__.py",
    "chassis/__init__.py",
    "services/admission/__init__.py",
    "services/accounting/__init__.py",
    "services/health/__init__.py",
    "gateway/__init__.py",
    "local/__init__.py",
)
ITEM: Final = re.compile(r"^\s*\d+\.\s", re.MULTILINE)
# `tests/x/test_y.py::test_z`, `tests/x/test_y.py`, both without `tests/` too, or `test_z`.
REFERENCE: Final = re.compile(r"[\w/]+/test_\w+\.py(?:::test_\w+)?|\btest_\w+(?!\w*\.py)\b")
REQUIREMENT: Final = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)", re.MULTILINE)


@pytest.mark.parametrize("package", PROMISING)
def test_every_promise_of_a_package_names_a_test_that_exists(package: str) -> None:
    docstring = ast.get_docstring(tracked.tree(Path(package))) or ""
    promises = ITEM.split(docstring)[1:]

    assert promises, f"{package} makes no numbered promise"
    for promise in promises:
        references = REFERENCE.findall(promise)
        assert references, f"names no test: {promise}"
        assert [name for name in references if not tracked.is_test(name)] == []


@pytest.mark.parametrize("page", ["README.md", "docs/guarantees.md", "docs/operations.md"])
def test_every_test_that_a_page_names_exists(page: str) -> None:
    references = REFERENCE.findall((tracked.ROOT / page).read_text())

    assert [name for name in references if not tracked.is_test(name)] == []


def test_every_guarantee_names_a_test_or_says_that_it_comes_later() -> None:
    page = (tracked.ROOT / "docs/guarantees.md").read_text()
    sections = re.split(r"^## \d+\. ", page, flags=re.MULTILINE)[1:]

    assert len(sections) == 18
    for section in sections:
        title = section.partition("\n")[0]
        assert REFERENCE.search(section) or "**Later.**" in section, title


def test_every_requirement_has_a_line_in_the_page_of_dependencies() -> None:
    page = (tracked.ROOT / "docs/dependencies.md").read_text()
    documented = set(re.findall(r"^\| `([^`]+)` \|", page, flags=re.MULTILINE))
    required = {
        name
        for path in (tracked.ROOT / "requirements").glob("*.in")
        for name in REQUIREMENT.findall(path.read_text())
    }
    project = tomllib.loads((tracked.ROOT / "pyproject.toml").read_text())["project"]
    for line in [*project["dependencies"], *project["optional-dependencies"]["cli"]]:
        required |= set(REQUIREMENT.findall(line))

    assert required == documented


def test_every_decision_record_has_a_status() -> None:
    records = sorted((tracked.ROOT / "docs/adr").glob("[0-9]*.md"))
    numbers = [record.name[:4] for record in records]

    assert len(numbers) == len(set(numbers))
    for record in records:
        text = record.read_text()
        assert text.startswith(f"# {int(record.name[:4])}. "), record.name
        assert re.search(r"^Status: (accepted|rejected|superseded)", text, re.MULTILINE), record
