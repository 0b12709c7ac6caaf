"""What a command prints: tables for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Annotated, Final

import typer
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

Json = Annotated[bool, typer.Option("--json", help="Print the whole answer as JSON.")]
Expect = Annotated[
    int | None,
    typer.Option(
        min=0, metavar="VERSION", help="Only if it has this version; 0: if there is none."
    ),
]

# Lines of a table that goes into a file or pipe are never folded.
_PIPE_WIDTH: Final = 10_000


def show_json(message: Message) -> None:
    """Prints a message of the contract; fields without a value are there too."""
    fields = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    print(json.dumps(fields, indent=2, ensure_ascii=False))


def show_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, empty: str, footer: bool = False
) -> None:
    """Prints rows under a head, or the sentence `empty` if there are none.

    Columns whose name starts with ">" are aligned right. With `footer` the last row is set apart.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        table.add_column(
            column.removeprefix(">"),
            justify="right" if column.startswith(">") else "left",
            overflow="fold",
        )
    cells = [[Text(printable(cell)) for cell in row] for row in rows]
    for index, row in enumerate(cells):
        table.add_row(*row, end_section=footer and index == len(cells) - 2)
    if cells:
        _console().print(table)
    else:
        say(empty)


def say(text: str) -> None:
    """Prints one line."""
    print(printable(text))


def printable(text: str) -> str:
    """Returns text that can't move a terminal's cursor: it may come from anybody."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_PIPE_WIDTH)
