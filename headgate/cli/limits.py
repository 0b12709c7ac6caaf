"""`headgate limits` and `headgate counters`: caps, and what has been used of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer

from headgate.api.common.v1 import limit_pb2
from headgate.api.gateway.v1 import admin_pb2
from headgate.cli import explain, wording
from headgate.cli.config import WrongUse
from headgate.cli.limit_options import (
    MetricName,
    ModeName,
    PeriodName,
    WindowOptions,
    parse_amount,
    parse_instant,
    parse_scope,
    set_window,
)
from headgate.cli.output import Expect, Json, say, show_json, show_table
from headgate.cli.session import open_session

app = typer.Typer(name="limits", help="Caps on what may be used.", no_args_is_help=True)


@app.command("list")
def list_limits(context: typer.Context, json: Json = False) -> None:
    """Lists all limits in order of their ids."""
    answer = open_session(context).collect(
        lambda admin: admin.ListLimits, admin_pb2.ListLimitsRequest()
    )
    show_json(answer) if json else _show_limits(answer.limits)


@app.command("set")
def set_limit(
    context: typer.Context,
    *,
    limit_id: Annotated[str, typer.Argument(help="Name of the limit, such as acme-monthly.")],
    cap: Annotated[
        str, typer.Option(help="Greatest amount: calls, tokens, or US dollars like 12.50.")
    ],
    metric: Annotated[MetricName, typer.Option(help="What is counted.")],
    per: Annotated[
        PeriodName | None, typer.Option(help="Calendar window in which it is counted.")
    ] = None,
    rolling: Annotated[
        str, typer.Option(metavar="DURATION", help="Counted over the last 90s, 15m, 24h, 7d.")
    ] = "",
    refill: Annotated[
        str,
        typer.Option(
            metavar="AMOUNT/DURATION", help="A bucket of the cap that refills so, such as 100/1m."
        ),
    ] = "",
    total: Annotated[
        bool, typer.Option("--total", help="Counted for ever, such as a ticket's budget.")
    ] = False,
    interval: Annotated[
        str, typer.Option(metavar="FROM/TO", help="Counted between two instants.")
    ] = "",
    org: Annotated[str, typer.Option(help="Only this org, in place of --each-org's cap.")] = "",
    each_org: Annotated[
        bool, typer.Option("--each-org", help="Every org by itself, from its first call on.")
    ] = False,
    scope: Annotated[
        list[str] | None,
        typer.Option(
            "--for", metavar="NAME=VALUE", help="Further dimensions: user=*, label.ticket=T-17."
        ),
    ] = None,
    time_zone: Annotated[
        str,
        typer.Option(
            metavar="ZONE",
            help="Whose midnight counts, such as Europe/Amsterdam. Left out: the org's, else UTC.",
        ),
    ] = "",
    start_day: Annotated[
        str, typer.Option(metavar="DAY", help="First day of a week, or day a month starts on.")
    ] = "",
    mode: Annotated[ModeName, typer.Option(help="Whether it denies.")] = ModeName.ENFORCE,
    valid_from: Annotated[str, typer.Option(metavar="INSTANT", help="Applies from then on.")] = "",
    valid_until: Annotated[str, typer.Option(metavar="INSTANT", help="Applies until then.")] = "",
    default_share: Annotated[
        int, typer.Option(min=0, max=100, help="Percent of the cap for calls of default priority.")
    ] = 100,
    sheddable_share: Annotated[
        int, typer.Option(min=0, max=100, help="Percent of the cap for sheddable calls.")
    ] = 100,
    alert_at: Annotated[
        list[int] | None, typer.Option(metavar="PERCENT", help="Raises an alert there.")
    ] = None,
    owner: Annotated[str, typer.Option(help="Whom a denied caller should ask.")] = "",
    expect: Expect = None,
    json: Json = False,
) -> None:
    """Creates or replaces a limit. Without --org, --each-org and --for it is the platform's."""
    limit = limit_pb2.Limit(
        limit_id=limit_id,
        scope=parse_scope(scope or [], org=org, each_org=each_org),
        metric=limit_pb2.Metric.Value(f"METRIC_{metric.name}"),
        cap=parse_amount("--cap", cap, metric),
        owner=owner,
        mode=limit_pb2.LimitMode.Value(f"LIMIT_MODE_{mode.name}"),
        alert_percents=alert_at or [],
    )
    window = WindowOptions(per, rolling, refill, total, interval, time_zone, start_day)
    set_window(limit, window, metric)
    if valid_from:
        limit.start_time.CopyFrom(parse_instant("--valid-from", valid_from))
    if valid_until:
        limit.end_time.CopyFrom(parse_instant("--valid-until", valid_until))
    if (default_share, sheddable_share) != (100, 100):
        limit.shares.default_percent = default_share
        limit.shares.sheddable_percent = min(sheddable_share, default_share)
    answer = open_session(context).ask(
        lambda admin: admin.PutLimit,
        admin_pb2.PutLimitRequest(limit=limit, expected_version=expect),
    )
    show_json(answer) if json else _show_limits([answer.limit])


@app.command("show")
def show_limit(
    context: typer.Context,
    limit_id: Annotated[str, typer.Argument(help="Name of the limit.")],
    json: Json = False,
) -> None:
    """Shows one limit, and the version that --expect takes."""
    answer = open_session(context).ask(
        lambda admin: admin.GetLimit, admin_pb2.GetLimitRequest(limit_id=limit_id)
    )
    if json:
        show_json(answer)
    else:
        _show_limits([answer.limit])
        say(f"Version {answer.limit.version}")


@app.command("delete")
def delete_limit(
    context: typer.Context,
    limit_id: Annotated[str, typer.Argument(help="Name of the limit.")],
    expect: Expect = None,
    json: Json = False,
) -> None:
    """Deletes a limit: its calls are bounded by the other limits only."""
    answer = open_session(context).ask(
        lambda admin: admin.DeleteLimit,
        admin_pb2.DeleteLimitRequest(limit_id=limit_id, expected_version=expect),
    )
    show_json(answer) if json else say(f"Limit {limit_id} is deleted.")


app.command("violations")(explain.violations)
app.command("simulate")(explain.simulate)


def counters(
    context: typer.Context,
    org: Annotated[str, typer.Option(help="Only this org's.")] = "",
    platform: Annotated[bool, typer.Option("--platform", help="Only the platform's.")] = False,
    json: Json = False,
) -> None:
    """Shows what has been used of each limit, newest window first."""
    if org and platform:
        raise WrongUse("--org and --platform exclude each other")
    request = admin_pb2.ListCountersRequest()
    if org or platform:
        request.org = org
    answer = open_session(context).collect(lambda admin: admin.ListCounters, request)
    show_json(answer) if json else _show_counters(answer.counters)


def _show_limits(limits: Iterable[limit_pb2.Limit]) -> None:
    show_table(
        ["LIMIT", "SCOPE", "METRIC", ">CAP", "WINDOW", "MODE", "OWNER"],
        [
            [
                each.limit_id,
                wording.scope(each.scope),
                wording.word(limit_pb2.Metric.DESCRIPTOR, each.metric),
                wording.amount(each.metric, each.cap),
                wording.window(each),
                wording.word(limit_pb2.LimitMode.DESCRIPTOR, each.mode),
                each.owner or wording.NOTHING,
            ]
            for each in limits
        ],
        empty="There is no limit.",
    )


def _show_counters(counters: Iterable[limit_pb2.CounterState]) -> None:
    rows = []
    for each in counters:
        capped = each.HasField("cap")
        rows.append(
            [
                wording.scope(each.scope),
                wording.word(limit_pb2.Metric.DESCRIPTOR, each.metric),
                wording.window(each),
                wording.instant(each, "start_time"),
                wording.amount(each.metric, each.settled),
                wording.amount(each.metric, each.held),
                wording.amount(each.metric, each.cap) if capped else wording.NOTHING,
                wording.share(each.settled + each.held, each.cap) if capped else wording.NOTHING,
                wording.amount(each.metric, each.overrun),
            ]
        )
    show_table(
        ["SCOPE", "METRIC", "WINDOW", "SINCE", ">SETTLED", ">HELD", ">CAP", ">USED", ">OVERRUN"],
        rows,
        empty="Nothing has been counted yet.",
    )
