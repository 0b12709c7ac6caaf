"""`headgate routes`: which candidates serve an operation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer

from headgate.api.common.v1 import call_pb2
from headgate.api.gateway.v1 import admin_pb2
from headgate.cli.config import WrongUse
from headgate.cli.output import Json, say, show_json, show_table
from headgate.cli.session import open_session

app = typer.Typer(name="routes", help="Operations and their candidates.", no_args_is_help=True)


@app.command("list")
def list_routes(context: typer.Context, json: Json = False) -> None:
    """Lists all routes in order of their operations."""
    answer = open_session(context).collect(
        lambda admin: admin.ListRoutes, admin_pb2.ListRoutesRequest()
    )
    show_json(answer) if json else _show_routes(answer.routes)


@app.command("set")
def set_route(
    context: typer.Context,
    *,
    operation: Annotated[str, typer.Argument(help="Name of the operation, such as summarize.")],
    candidate: Annotated[
        list[str],
        typer.Option(
            metavar="PROVIDER/MODEL", help="Repeat it for more, in order of preference: at most 4."
        ),
    ],
    max_output_tokens: Annotated[
        int, typer.Option(min=0, help="For calls that give no bound. 0: Headgate's default.")
    ] = 0,
    hold_seconds: Annotated[
        int, typer.Option(min=0, help="How long a call may take. 0: Headgate's default.")
    ] = 0,
    fallback_text: Annotated[
        str, typer.Option(help="Text that callers may show instead of an answer.")
    ] = "",
    json: Json = False,
) -> None:
    """Creates or replaces the route of an operation."""
    route = admin_pb2.Route(
        operation=operation,
        candidates=[parse_candidate(each) for each in candidate],
        default_max_output_token_count=max_output_tokens,
        fallback_text=fallback_text,
        hold_seconds=hold_seconds,
    )
    answer = open_session(context).ask(
        lambda admin: admin.PutRoute, admin_pb2.PutRouteRequest(route=route)
    )
    show_json(answer) if json else _show_routes([answer.route])


@app.command("delete")
def delete_route(
    context: typer.Context,
    operation: Annotated[str, typer.Argument(help="Name of the operation.")],
    json: Json = False,
) -> None:
    """Deletes the route of an operation: its calls are refused from then on."""
    answer = open_session(context).ask(
        lambda admin: admin.DeleteRoute, admin_pb2.DeleteRouteRequest(operation=operation)
    )
    show_json(answer) if json else say(f"The route of {operation} is deleted.")


def parse_candidate(text: str) -> call_pb2.Candidate:
    """Returns the candidate that PROVIDER/MODEL names; a model may hold more slashes."""
    provider, _, model = text.partition("/")
    if not provider or not model:
        raise WrongUse(f"{text!r} is not PROVIDER/MODEL, such as openai/gpt-4o-mini")
    return call_pb2.Candidate(provider=provider, model=model)


def _show_routes(routes: Iterable[admin_pb2.Route]) -> None:
    show_table(
        ["OPERATION", "CANDIDATES", ">MAX OUTPUT TOKENS", ">HOLD SECONDS", "FALLBACK TEXT"],
        [
            [
                each.operation,
                ", ".join(f"{c.provider}/{c.model}" for c in each.candidates),
                f"{each.default_max_output_token_count:,}",
                f"{each.hold_seconds:,}",
                each.fallback_text,
            ]
            for each in routes
        ],
        empty="There is no route.",
    )
