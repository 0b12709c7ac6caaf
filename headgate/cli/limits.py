"""`headgate limits` and `headgate counters`: caps, and what has been used of them."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Annotated

import typer

from headgate.api.common.v1 import limit_pb2
from headgate.api.gateway.v1 import admin_pb2
from headgate.cli import wording
from headgate.cli.config import WrongUse
from headgate.cli.output import Json, say, show_json, show_table
from headgate.cli.session import open_session
from headgate.money import parse_usd

app = typer.Typer(name="limits", help="Caps on what may be used.", no_args_is_help=True)


class MetricName(str, enum.Enum):
    """What a limit counts."""

    CALLS = "calls"
    COST = "cost"


class PeriodName(str, enum.Enum):
    """Length of a calendar window."""

    DAY = "day"
    MONTH = "month"


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
        str, typer.Option(help="Greatest amount in one window: calls, or US dollars like 12.50.")
    ],
    metric: Annotated[MetricName, typer.Option(help="What is counted.")],
    per: Annotated[PeriodName, typer.Option(help="Calendar window in which it is counted.")],
    org: Annotated[str, typer.Option(help="Only this org, in place of --each-org's cap.")] = "",
    each_org: Annotated[
        bool, typer.Option("--each-org", help="Every org by itself, from its first call on.")
    ] = False,
    time_zone: Annotated[
        str, typer.Option(metavar="ZONE", help="Whose midnight counts, such as Europe/Amsterdam.")
    ] = "UTC",
    owner: Annotated[str, typer.Option(help="Whom a denied caller should ask.")] = "",
    json: Json = False,
) -> None:
    """Creates or replaces a limit. Without --org and --each-org it is the platform's."""
    if org and each_org:
        raise WrongUse("--org and --each-org exclude each other")
    wanted = "*" if each_org else org
    limit = limit_pb2.Limit(
        limit_id=limit_id,
        scope={"org": wanted} if wanted else {},
        metric=limit_pb2.Metric.Value(f"METRIC_{metric.name}"),
        calendar=limit_pb2.CalendarWindow(
            period=limit_pb2.CalendarPeriod.Value(f"CALENDAR_PERIOD_{per.name}"),
            time_zone=time_zone,
        ),
        cap=_parse_cap(cap, metric),
        owner=owner,
    )
    answer = open_session(context).ask(
        lambda admin: admin.PutLimit, admin_pb2.PutLimitRequest(limit=limit)
    )
    show_json(answer) if json else _show_limits([answer.limit])


@app.command("delete")
def delete_limit(
    context: typer.Context,
    limit_id: Annotated[str, typer.Argument(help="Name of the limit.")],
    json: Json = False,
) -> None:
    """Deletes a limit: its calls are bounded by the other limits only."""
    answer = open_session(context).ask(
        lambda admin: admin.DeleteLimit, admin_pb2.DeleteLimitRequest(limit_id=limit_id)
    )
    show_json(answer) if json else say(f"Limit {limit_id} is deleted.")


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


def _parse_cap(text: str, metric: MetricName) -> int:
    if metric is MetricName.COST:
        try:
            return parse_usd(text)
        except ValueError as error:
            raise WrongUse(f"--cap: {error}") from None
    if not (text.isascii() and text.isdigit()):
        raise WrongUse(f"--cap: {text!r} is not a number of calls; write it like 1000")
    return int(text)


def _show_limits(limits: Iterable[limit_pb2.Limit]) -> None:
    show_table(
        ["LIMIT", "SCOPE", "METRIC", ">CAP", "PER", "OWNER"],
        [
            [
                each.limit_id,
                wording.scope(each.scope),
                wording.word(limit_pb2.Metric.DESCRIPTOR, each.metric),
                wording.amount(each.metric, each.cap),
                wording.window(each.calendar),
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
                wording.window(each.calendar),
                wording.instant(each, "start_time"),
                wording.amount(each.metric, each.settled),
                wording.amount(each.metric, each.held),
                wording.amount(each.metric, each.cap) if capped else wording.NOTHING,
                wording.share(each.settled + each.held, each.cap) if capped else wording.NOTHING,
                wording.amount(each.metric, each.overrun),
            ]
        )
    show_table(
        ["SCOPE", "METRIC", "PER", "SINCE", ">SETTLED", ">HELD", ">CAP", ">USED", ">OVERRUN"],
        rows,
        empty="Nothing has been counted yet.",
    )
