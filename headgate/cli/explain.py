"""`headgate explain`, `headgate limits violations` and `simulate`: what limits do and would do."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from google.protobuf import json_format

from headgate.api.common.v1 import (
    explanation_pb2,
    limit_pb2,
    simulation_pb2,
    violation_pb2,
)
from headgate.api.gateway.v1 import admin_pb2, gateway_pb2
from headgate.api.gateway.v1 import limit_admin_pb2 as pb
from headgate.api.gateway.v1.limit_admin_pb2_grpc import LimitAdminServiceStub
from headgate.cli import wording
from headgate.cli.config import WrongUse
from headgate.cli.limit_options import parse_instant, parse_scope
from headgate.cli.output import Json, say, show_json, show_table
from headgate.cli.session import open_session
from headgate.money import format_usd

_FIELDS = ("team", "user", "session", "ip", "feature")


def explain(
    context: typer.Context,
    *,
    operation: Annotated[str, typer.Argument(help="What the call would be for.")],
    org: Annotated[str, typer.Option(help="Org that it would be charged to.")],
    scope: Annotated[
        list[str] | None,
        typer.Option("--for", metavar="NAME=VALUE", help="user=ann, label.ticket=T-17, api_key=…"),
    ] = None,
    input_tokens: Annotated[int, typer.Option(min=0, help="Tokens of its input.")] = 0,
    output_tokens: Annotated[
        int | None, typer.Option(min=0, help="Bound of its output, else the operation's.")
    ] = None,
    json: Json = False,
) -> None:
    """Tells which limits would apply to a call, their state, and why. Holds nothing."""
    values = parse_scope(scope or [], org="", each_org=False)
    labels = {
        name.removeprefix("label."): values.pop(name)
        for name in list(values)
        if name.startswith("label.")
    }
    key = values.pop("api_key", "")
    if unknown := sorted(set(values) - set(_FIELDS)):
        raise WrongUse(f"--for: {unknown[0]} can't be given; known: {', '.join(_FIELDS)}")
    call = gateway_pb2.AdmitCallRequest(
        operation=operation,
        input_token_count=input_tokens,
        max_output_token_count=output_tokens,
        labels=labels,
    )
    for name, value in values.items():
        setattr(call, name, value)
    answer: pb.ExplainLimitsResponse = open_session(context).ask_at(
        LimitAdminServiceStub,
        lambda limits: limits.ExplainLimits,
        pb.ExplainLimitsRequest(org=org, call=call, api_key_id=key),
    )
    if json:
        show_json(answer)
        return
    for candidate in answer.candidates:
        _show_candidate(candidate)


def violations(
    context: typer.Context,
    *,
    limit_id: Annotated[str, typer.Option("--limit", help="Only this limit's.")] = "",
    org: Annotated[str, typer.Option(help="Only this org's.")] = "",
    json: Json = False,
) -> None:
    """Lists what limits denied, or would have in shadow mode, newest minute first."""
    answer: pb.ListViolationsResponse = open_session(context).collect_at(
        LimitAdminServiceStub,
        lambda limits: limits.ListViolations,
        pb.ListViolationsRequest(limit_id=limit_id, org=org),
    )
    show_json(answer) if json else _show_violations(answer.violations)


def simulate(
    context: typer.Context,
    *,
    file: Annotated[
        Path,
        typer.Argument(help="Limits to try, as `headgate limits list --json` prints them."),
    ],
    start: Annotated[str, typer.Option("--from", metavar="INSTANT", help="First instant.")],
    end: Annotated[str, typer.Option("--to", metavar="INSTANT", help="First instant after it.")],
    org: Annotated[str, typer.Option(help="Only this org's calls.")] = "",
    json: Json = False,
) -> None:
    """Tries limits on past calls: what would have been denied, and the cost avoided."""
    request = pb.SimulateLimitsRequest(
        start_time=parse_instant("--from", start),
        end_time=parse_instant("--to", end),
        limits=_read_limits(file),
        org=org,
    )
    report = simulation_pb2.SimulationReport()

    def hear(progress: pb.SimulateLimitsResponse) -> None:
        if progress.HasField("report"):
            report.CopyFrom(progress.report)
        if sys.stderr.isatty():
            told = f"{progress.replayed_count:,} of {progress.total_count:,} calls"
            print(f"\r{told}", end="", file=sys.stderr, flush=True)

    open_session(context).stream_at(
        LimitAdminServiceStub, lambda limits: limits.SimulateLimits, request, hear
    )
    if sys.stderr.isatty():
        print(file=sys.stderr)
    show_json(report) if json else _show_report(report)


def _read_limits(file: Path) -> Iterable[limit_pb2.Limit]:
    try:
        text = file.read_text(encoding="utf-8")
        return json_format.Parse(text, admin_pb2.ListLimitsResponse()).limits
    except (OSError, UnicodeDecodeError) as error:
        raise WrongUse(f"{file}: {error}") from None
    except json_format.ParseError as error:
        raise WrongUse(f"{file}: {' '.join(str(error).split())}") from None


def _show_candidate(found: explanation_pb2.CandidateExplanation) -> None:
    verdict = "would be admitted" if found.fits else "would be denied"
    say(
        f"{found.candidate.provider}/{found.candidate.model}: {verdict}, "
        f"holding {format_usd(found.held_nanos)} and {found.held_token_count:,} tokens."
    )
    if found.HasField("fence"):
        say(f"Stopped by the kill switch {found.fence.fence_id}: {found.fence.message}")
    show_table(
        ["LIMIT", "SCOPE", "WINDOW", ">SETTLED", ">HELD", ">CAP", "WHY"],
        [_limit_row(each) for each in found.limits],
        empty="No limit is about this call.",
    )


def _limit_row(found: explanation_pb2.LimitExplanation) -> list[str]:
    limit, counted = found.limit, found.HasField("counter")
    metric = limit.metric
    scope = found.counter.scope if counted else limit.scope
    return [
        limit.limit_id,
        wording.scope(scope),
        wording.window(limit),
        wording.amount(metric, found.counter.settled) if counted else wording.NOTHING,
        wording.amount(metric, found.counter.held) if counted else wording.NOTHING,
        wording.amount(metric, limit.cap),
        found.reason,
    ]


def _show_violations(found: Iterable[violation_pb2.ViolationCount]) -> None:
    show_table(
        ["MINUTE", "LIMIT", "ORG", ">CALLS", ">ASKED FOR", ""],
        [
            [
                wording.instant(each, "minute"),
                each.limit_id,
                each.org or wording.NOTHING,
                f"{each.call_count:,}",
                format_usd(each.requested_nanos),
                "shadow" if each.shadow else "denied",
            ]
            for each in found
        ],
        empty="No limit has denied anything.",
    )


def _show_report(report: simulation_pb2.SimulationReport) -> None:
    say(
        f"{report.denied_count:,} calls would have been denied, "
        f"{format_usd(report.avoided_nanos)} would not have been spent."
    )
    show_table(
        ["LIMIT", "ORG", ">CALLS", ">AVOIDED"],
        [
            [each.limit_id, each.org, f"{each.denied_count:,}", format_usd(each.avoided_nanos)]
            for each in report.denials
        ],
        empty="No limit would have denied anything.",
    )
    if report.unlogged_denied_count:
        asked = format_usd(report.unlogged_requested_nanos)
        say(f"About {report.unlogged_denied_count:,} calls were denied then, asking for {asked}.")
    for note in report.notes:
        say(note)
