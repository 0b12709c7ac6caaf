"""What any committed text must and must not hold."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from tests.tidy import tracked

# Patterns are spelled apart, or this file would be its own offender.
REGISTRY_HOSTS: Final = re.compile(
    "|".join(
        (
            r"pypi" + r"\.org",
            r"pythonhosted" + r"\.org",
            r"registry\.npmjs" + r"\.org",
            r"proxy\.golang" + r"\.org",
            r"docker" + r"\.io",
            r"quay" + r"\.io",
            r"ghcr" + r"\.io",
            r"gcr" + r"\.io",
            r"deb\.debian" + r"\.org",
            r"(?m:^\s*--?(extra-)?index-url)",
        )
    )
)
MACHINE_PATHS: Final = re.compile(r"(?<![\w.])/(root|work|Users|home/[a-z][\w-]*)/")
# A section of a page that this repository does not have.
SECTION_MARK: Final = chr(0xA7)
RELATIVE_LINK: Final = re.compile(r"\]\((?!https?:|mailto:|#)([^)\s]+)\)")
PAGE: Final = re.compile(r"(?<![\w*/.-])((?:[\w.-]+/)*[\w-]+\.md)\b")


def texts() -> dict[Path, str]:
    return {
        path: text
        for path in tracked.files()
        if not path.is_relative_to(tracked.GENERATED) and (text := tracked.text(path)) is not None
    }


def found(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{path}: {match.group().strip()}"
        for path, text in texts().items()
        for match in pattern.finditer(text)
    ]


def test_no_file_names_a_package_registry() -> None:
    assert found(REGISTRY_HOSTS) == []


def test_no_file_names_a_path_of_somebodys_machine() -> None:
    assert found(MACHINE_PATHS) == []


def test_no_file_points_at_a_section_of_an_absent_page() -> None:
    assert found(re.compile(SECTION_MARK)) == []


def test_every_page_that_is_mentioned_exists() -> None:
    names = {path.name for path in tracked.files()}
    missing = [
        f"{path}: {match.group(1)}"
        for path, text in texts().items()
        if path.suffix in (".py", ".md", ".sql", ".proto", ".yaml", ".toml", ".in", "")
        for match in PAGE.finditer(text)
        if Path(match.group(1)).name not in names
    ]

    assert missing == []


def test_every_relative_link_leads_somewhere() -> None:
    dead = [
        f"{path}: {match.group(1)}"
        for path, text in texts().items()
        if path.suffix == ".md"
        for match in RELATIVE_LINK.finditer(text)
        if not (tracked.ROOT / path.parent / match.group(1).partition("#")[0]).exists()
    ]

    assert dead == []


def test_text_files_end_lines_with_lf_and_the_last_one_too() -> None:
    wrong = [
        str(path)
        for path, text in texts().items()
        if text and (not text.endswith("\n") or "\r" in text)
    ]

    assert wrong == []
