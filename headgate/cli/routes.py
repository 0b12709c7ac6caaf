"""`headgate routes`: which candidates serve an operation, and what they were before."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Final

import typer

from headgate.api.common.v1 import call_pb2
from headgate.api.gateway.v1 import admin_pb2, gateway_pb2
from headgate.cli import route_files, wording
from headgate.cli.config import WrongUse
from headgate.cli.output import Expect, Json, say, show_json, show_table
from headgate.cli.session import open_session
from headgate.money import format_usd, parse_usd

app = typer.Typer(name="routes", help="Operations and their candidates.", no_args_is_help=True)

ADAPTIVE: Final = gateway_pb2.ESTIMATE_MODE_ADAPTIVE
STRICT: Final = gateway_pb2.ESTIMATE_MODE_STRICT

_Operation = Annotated[str, typer.Argument(help="Name of the operation, such as summarize.")]


@app.command("list")
def list_routes(
    context: typer.Context,
    tag: Annotated[str, typer.Option(help="Only routes with this tag.")] = "",
    json: Json = False,
) -> None:
    """Lists all routes in order of their operations."""
    answer = open_session(context).collect(
        lambda admin: admin.ListRoutes, admin_pb2.ListRoutesRequest(tag=tag)
    )
    show_json(answer) if json else _show_routes(answer.routes)


@app.command("show")
def show_route(
    context: typer.Context,
    operation: _Operation,
    version: Annotated[int, typer.Option(min=0, help="As it was. 0: as it is.")] = 0,
    json: Json = False,
) -> None:
    """Shows a route as a file that `set --file` takes."""
    answer = open_session(context).ask(
        lambda admin: admin.GetRoute,
        admin_pb2.GetRouteRequest(operation=operation, version=version),
    )
    if json:
        show_json(answer)
    else:
        print(route_files.write_route(answer.version.route), end="")


@app.command("set")
def set_route(
    context: typer.Context,
    *,
    operation: Annotated[
        str, typer.Argument(help="Name of the operation, such as summarize.")
    ] = "",
    candidate: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PROVIDER/MODEL[=WEIGHT]",
            help="Repeat it for more, in order of preference: at most 4. Weights share users out.",
        ),
    ] = None,
    file: Annotated[
        Path | None, typer.Option(help="Routes in YAML or JSON, instead of all the rest.")
    ] = None,
    max_output_tokens: Annotated[
        int, typer.Option(min=0, help="For calls that give no bound. 0: Headgate's default.")
    ] = 0,
    hold_seconds: Annotated[
        int, typer.Option(min=0, help="How long a call may take. 0: Headgate's default.")
    ] = 0,
    adaptive_percent: Annotated[
        int,
        typer.Option(min=0, help="Of what calls hardly exceed. 0: hold the worst case."),
    ] = 0,
    fallback_text: Annotated[
        str, typer.Option(help="Text that callers may show instead of an answer.")
    ] = "",
    fallback_template: Annotated[str, typer.Option(help="Template of that text.")] = "",
    baseline: Annotated[
        str, typer.Option(metavar="PROVIDER/MODEL", help="What savings are counted against.")
    ] = "",
    tag: Annotated[list[str] | None, typer.Option(help="Repeat it for more.")] = None,
    approval: Annotated[
        bool, typer.Option("--approval", help="Each call needs a person's leave.")
    ] = False,
    approval_above: Annotated[
        str, typer.Option(metavar="USD", help="Calls that may cost more need one.")
    ] = "",
    coalesce: Annotated[
        bool, typer.Option("--coalesce", help="Identical calls may share one answer.")
    ] = False,
    expect: Expect = None,
    json: Json = False,
) -> None:
    """Creates or replaces the route of an operation, or all routes of a file."""
    if (file is None) == (not operation):
        raise WrongUse("name either an operation, or a --file")
    route = admin_pb2.Route(
        operation=operation,
        default_max_output_token_count=max_output_tokens,
        fallback_text=fallback_text,
        fallback_template=fallback_template,
        hold_seconds=hold_seconds,
        adaptive_percent=adaptive_percent,
        estimate_mode=ADAPTIVE if adaptive_percent else STRICT,
        baseline_model=parse_candidate(baseline) if baseline else None,
        tags=tag or [],
        coalesces=coalesce,
        approval_required=approval,
        approval_threshold_nanos=_parse_money(approval_above) if approval_above else 0,
    )
    _add_candidates(route, candidate or [])
    request = admin_pb2.PutRouteRequest(route=route, expected_version=expect)
    _put(context, [request] if file is None else _read(file), json=json)


@app.command("history")
def show_history(context: typer.Context, operation: _Operation, json: Json = False) -> None:
    """Lists what a route was, newest version first."""
    answer = open_session(context).collect(
        lambda admin: admin.ListRouteVersions,
        admin_pb2.ListRouteVersionsRequest(operation=operation),
    )
    show_json(answer) if json else _show_versions(answer.versions)


@app.command("rollback")
def roll_back(
    context: typer.Context,
    operation: _Operation,
    version: Annotated[int, typer.Argument(min=1, help="Version to write again.")],
    expect: Expect = None,
    json: Json = False,
) -> None:
    """Writes an earlier version of a route again, as a new one."""
    request = admin_pb2.RollbackRouteRequest(
        operation=operation, version=version, expected_version=expect
    )
    answer = open_session(context).ask(lambda admin: admin.RollbackRoute, request)
    show_json(answer) if json else _show_routes([answer.route])


@app.command("delete")
def delete_route(
    context: typer.Context, operation: _Operation, expect: Expect = None, json: Json = False
) -> None:
    """Deletes the route of an operation: its calls are refused from then on."""
    answer = open_session(context).ask(
        lambda admin: admin.DeleteRoute,
        admin_pb2.DeleteRouteRequest(operation=operation, expected_version=expect),
    )
    show_json(answer) if json else say(f"The route of {operation} is deleted.")


def parse_candidate(text: str) -> call_pb2.Candidate:
    """Returns the candidate that PROVIDER/MODEL names; a model may hold more slashes."""
    found = route_files.split_candidate(text)
    if found is None:
        raise WrongUse(f"{text!r} is not PROVIDER/MODEL, such as openai/gpt-4o-mini")
    return found


def _parse_money(text: str) -> int:
    try:
        return parse_usd(text)
    except ValueError as error:
        raise WrongUse(f"--approval-above: {error}") from None


def _add_candidates(route: admin_pb2.Route, given: list[str]) -> None:
    for each in given:
        name, _, weight = each.partition("=")
        route.candidates.append(parse_candidate(name))
        if weight:
            number = route_files.parse_whole(weight)
            if number is None:
                raise WrongUse(f"--candidate: {weight!r} is no weight, such as 90")
            route.weights.append(number)


def _read(path: Path) -> list[admin_pb2.PutRouteRequest]:
    try:
        return route_files.read_routes(path.read_text())
    except OSError as error:
        raise WrongUse(f"{path}: {error.strerror}") from None
    except (route_files.BadRouteFileError, UnicodeDecodeError) as error:
        raise WrongUse(f"{path}: {error}") from None


def _put(context: typer.Context, requests: list[admin_pb2.PutRouteRequest], *, json: bool) -> None:
    session = open_session(context)
    answers = [session.ask(lambda admin: admin.PutRoute, each) for each in requests]
    if json and len(answers) == 1:
        show_json(answers[0])
    elif json:
        show_json(admin_pb2.ListRoutesResponse(routes=[each.route for each in answers]))
    else:
        _show_routes([each.route for each in answers])


def _show_routes(routes: Iterable[admin_pb2.Route]) -> None:
    show_table(
        [
            *("OPERATION", ">VERSION", "CANDIDATES", ">MAX OUTPUT TOKENS", ">HOLD SECONDS"),
            *("ESTIMATES", "APPROVAL", "TAGS", "FALLBACK"),
        ],
        [
            [
                each.operation,
                str(each.version),
                _word_candidates(each),
                f"{each.default_max_output_token_count:,}",
                f"{each.hold_seconds:,}",
                f"adaptive {each.adaptive_percent} %" if each.adaptive_percent else "strict",
                _word_approval(each),
                ", ".join(each.tags) or wording.NOTHING,
                each.fallback_template or each.fallback_text,
            ]
            for each in routes
        ],
        empty="There is no route.",
    )


def _show_versions(versions: Iterable[admin_pb2.RouteVersion]) -> None:
    show_table(
        [">VERSION", "WRITTEN", "BY", "WHAT", "CANDIDATES", "WHY"],
        [
            [
                str(each.route.version),
                wording.instant(each.route, "update_time"),
                each.route.updater,
                _word_change(each),
                _word_candidates(each.route),
                each.reason or wording.NOTHING,
            ]
            for each in versions
        ],
        empty="There never was such a route.",
    )


def _word_change(version: admin_pb2.RouteVersion) -> str:
    if version.deleted:
        return "deleted"
    return f"version {version.restored_version} again" if version.restored_version else "written"


def _word_approval(route: admin_pb2.Route) -> str:
    if route.approval_required:
        return "always"
    bound = route.approval_threshold_nanos
    return f"above {format_usd(bound)}" if bound else wording.NOTHING


def _word_candidates(route: admin_pb2.Route) -> str:
    names = [f"{each.provider}/{each.model}" for each in route.candidates]
    if route.weights:
        pairs = zip(names, route.weights, strict=True)
        names = [f"{name}={weight}" for name, weight in pairs]
    return ", ".join(names)
