"""`headgate api-usage`: who uses the API itself, and how it goes."""

from __future__ import annotations

from typing import Annotated

import typer

from headgate.api.gateway.v1 import api_admin_pb2, api_admin_pb2_grpc
from headgate.cli import wording
from headgate.cli.output import Json, say, show_json, show_table
from headgate.cli.session import open_session


def api_usage(
    context: typer.Context,
    days: Annotated[int, typer.Option(min=1, max=90, help="The last so many, with today.")] = 7,
    method: Annotated[str, typer.Option(help="Only this one, such as PutLimit.")] = "",
    actor: Annotated[str, typer.Option(help="Only this key's or member of staff's.")] = "",
    json: Json = False,
) -> None:
    """Shows how staff and their scripts use the API itself, by method and caller."""
    request = api_admin_pb2.GetApiUsageRequest(day_count=days, method=method, actor=actor or None)
    answer = open_session(context).ask_at(
        api_admin_pb2_grpc.ApiAdminServiceStub, lambda stub: stub.GetApiUsage, request
    )
    if json:
        show_json(answer)
        return
    show_table(
        ["METHOD", "CALLER", ">CALLS", ">REFUSED", ">FAILED"],
        [
            [
                each.method,
                each.actor or wording.NOTHING,
                f"{each.call_count:,}",
                f"{each.refused_count:,}",
                f"{each.failed_count:,}",
            ]
            for each in answer.usages
        ],
        empty="Nobody has used the API in these days.",
    )
    if answer.truncated:
        say("There are more: name a --method or an --actor.")
