"""`headgate audit`: who changed what."""

from __future__ import annotations

from typing import Annotated

import typer

from headgate.api.gateway.v1 import admin_pb2
from headgate.cli import wording
from headgate.cli.output import Json, show_json, show_table
from headgate.cli.session import open_session


def audit(
    context: typer.Context,
    last: Annotated[int, typer.Option(min=1, max=1000, help="How many entries.")] = 50,
    requests: Annotated[
        bool, typer.Option("--requests", help="Show what exactly was asked for.")
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
        rows.append([*row, each.request_json] if requests else row)
    show_table(
        [
            "TIME",
            "ACTOR",
            "ACTION",
            "TARGET",
            "STATE",
            "ERROR",
            *(["REQUEST"] if requests else []),
        ],
        rows,
        empty="Nothing has been changed yet.",
    )
