"""`headgate audit`: who changed what, and that nobody has rewritten it."""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer
from google.protobuf.json_format import MessageToDict, Parse, ParseError

from headgate.api.gateway.v1 import admin_pb2
from headgate.cli import chain, wording
from headgate.cli.config import WrongUse
from headgate.cli.output import Json, say, show_json, show_table
from headgate.cli.session import open_session

app = typer.Typer(
    name="audit", help="Who changed what, and that nobody rewrote it.", no_args_is_help=True
)


@app.command("list")
def list_entries(
    context: typer.Context,
    last: Annotated[int, typer.Option(min=1, max=1000, help="How many entries.")] = 50,
    requests: Annotated[
        bool, typer.Option("--requests", help="Show what exactly was asked for, and why.")
    ] = False,
    json: Json = False,
) -> None:
    """Lists changes and attempts at changes, newest first."""
    answer = open_session(context).ask(
        lambda admin: admin.ListAuditEntries, admin_pb2.ListAuditEntriesRequest(page_size=last)
    )
    if json:
        show_json(answer)
        return
    rows = []
    for each in answer.entries:
        state = wording.word(admin_pb2.AuditState.DESCRIPTOR, each.state)
        time = wording.instant(each, "create_time")
        row = [time, each.actor, each.action, each.target, state, each.error or wording.NOTHING]
        more = [each.reason or wording.NOTHING, each.request_json]
        rows.append([*row, *more] if requests else row)
    show_table(
        [
            "TIME",
            "ACTOR",
            "ACTION",
            "TARGET",
            "STATE",
            "ERROR",
            *(["REASON", "REQUEST"] if requests else []),
        ],
        rows,
        empty="Nothing has been changed yet.",
    )


@app.command("verify")
def verify(
    context: typer.Context,
    file: Annotated[
        Path | None, typer.Option(help="An export to verify, instead of the log itself.")
    ] = None,
    head: Annotated[
        str, typer.Option(help="A hash that you kept: the log must still run through it.")
    ] = "",
) -> None:
    """Computes the chain of hashes over the audit log anew. Keep the hash that it prints."""
    looked_at = chain.Chain(_read_hash(head))
    try:
        if file is not None:
            for record in _read_file(file):
                looked_at.take(record)
        else:
            _read_log(context, lambda page: _look_at(looked_at, page))
        looked_at.end()
    except chain.BrokenChainError as broken:
        _fail(str(broken))
    last = looked_at.last.hex() or "none"
    say(f"The audit log is whole: {looked_at.count} records. Its last hash is {last}")


@app.command("export")
def export(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="File to write, one record a line, as JSON.")],
) -> None:
    """Writes the whole audit log into a file, which `verify --file` can verify."""
    count = 0
    try:
        with file.open("w", encoding="utf-8") as output:

            def write(page: admin_pb2.ListAuditRecordsResponse) -> None:
                nonlocal count
                count += len(page.records)
                for each in page.records:
                    fields = MessageToDict(each, preserving_proto_field_name=True)
                    output.write(json_module.dumps(fields, ensure_ascii=False) + "\n")

            _read_log(context, write)
    except OSError as error:
        raise WrongUse(f"can't write {file}: {error.strerror}") from None
    say(f"{count} records are in {file}.")


def _read_log(
    context: typer.Context, take: Callable[[admin_pb2.ListAuditRecordsResponse], None]
) -> None:
    """Hands the whole log on, page by page; more than one page shows its progress."""
    count = 0

    def take_page(page: admin_pb2.ListAuditRecordsResponse) -> None:
        nonlocal count
        take(page)
        is_first, count = count == 0, count + len(page.records)
        if page.next_page_token or not is_first:
            print(f"\r{count:,} records", end="", file=sys.stderr, flush=True)
            if not page.next_page_token:
                print(file=sys.stderr)

    open_session(context).read_pages(
        lambda admin: admin.ListAuditRecords, admin_pb2.ListAuditRecordsRequest(), take_page
    )


def _look_at(looked_at: chain.Chain, page: admin_pb2.ListAuditRecordsResponse) -> None:
    for record in page.records:
        looked_at.take(record)
    if page.unlinked_count:
        raise chain.BrokenChainError(f"{page.unlinked_count} records stand outside of the chain")


def _read_file(file: Path) -> Iterator[admin_pb2.AuditRecord]:
    try:
        with file.open(encoding="utf-8") as lines:
            for line in lines:
                yield Parse(line, admin_pb2.AuditRecord())
    except OSError as error:
        raise WrongUse(f"can't read {file}: {error.strerror}") from None
    except (ParseError, UnicodeDecodeError):
        raise WrongUse(f"{file} is no export of the audit log") from None


def _read_hash(text: str) -> bytes | None:
    try:
        return bytes.fromhex(text) or None
    except ValueError:
        raise WrongUse(f"--head: {text!r} is no hash; give the hexadecimal digits") from None


def _fail(message: str) -> None:
    print(f"headgate: the audit log is not whole: {message}", file=sys.stderr)
    raise typer.Exit(1)
