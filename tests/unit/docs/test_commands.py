"""The commands of `headgate` that the pages show are those that there are."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any, Final

import pytest
import typer
from typer.main import get_command

from headgate.cli.main import app

ROOT: Final = Path(__file__).resolve().parents[3]
# Whole lines, to be typed as they are; and mere mentions in a sentence.
LINE: Final = re.compile(r"^ {4}headgate (.+)$", re.MULTILINE)
MENTION: Final = re.compile(r"`headgate ([a-z][^`]*)`")


def shown(pattern: re.Pattern[str]) -> list[str]:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    return sorted({each for page in pages for each in pattern.findall(page.read_text())})


def find(words: list[str]) -> tuple[Any, list[str]]:
    """The command that the first words name, and the rest of them."""
    command = get_command(app)
    while isinstance(command, typer.core.TyperGroup):
        if command.invoke_without_command and (not words or words[0].startswith("-")):
            break
        assert words, f"{command.name} alone does nothing"
        name, *words = words
        assert name in command.commands, f"no such command: {name}"
        command = command.commands[name]
    assert isinstance(command, typer.core.TyperCommand | typer.core.TyperGroup)
    return command, words


@pytest.mark.parametrize("line", shown(LINE))
def test_every_command_line_can_be_typed_as_it_is_shown(line: str) -> None:
    typed, _, _ = line.partition(" > ")
    command, words = find(shlex.split(typed, comments=True))

    command.make_context("headgate", words)


@pytest.mark.parametrize("mention", shown(MENTION))
def test_every_command_that_is_mentioned_exists_and_has_the_options(mention: str) -> None:
    command, words = find(shlex.split(mention))

    options = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} - options == set()


def test_a_command_that_is_not_there_would_be_found() -> None:
    with pytest.raises(AssertionError, match="no such command: allowances"):
        find(["allowances", "set"])
