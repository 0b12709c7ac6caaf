"""`headgate usage`: what was used and what it cost."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from datetime import date, datetime, timezone
from typing import Annotated, Final

import typer

from headgate.api.common.v1 import usage_pb2
from headgate.api.gateway.v1 import admin_pb2
from headgate.cli.config import WrongUse
from headgate.cli.output import Json, show_json, show_table
from headgate.cli.session import open_session
from headgate.money import format_usd


class Dimension(str, enum.Enum):
    """What sums can be split by."""

    DAY = "day"
    ORG = "org"
    OPERATION = "operation"
    PROVIDER = "provider"
    MODEL = "model"


class Source(str, enum.Enum):
    """Which table answers."""

    LOG = "log"
    ROLLUP = "rollup"


_TOTAL: Final = "total"


def usage(
    context: typer.Context,
    *,
    start: Annotated[
        str,
        typer.Option("--from", metavar="DAY", help="First day in UTC, else the month's first."),
    ] = "",
    end: Annotated[
        str, typer.Option("--to", metavar="DAY", help="Last day in UTC, else today.")
    ] = "",
    by: Annotated[
        list[Dimension] | None, typer.Option(help="Split the sums; repeat it. Else by org.")
    ] = None,
    org: Annotated[str, typer.Option(help="Only this org's.")] = "",
    source: Annotated[Source, typer.Option(help="Which table answers.")] = Source.ROLLUP,
    json: Json = False,
) -> None:
    """Sums usage over days, such as 2026-11-30; without days over this month."""
    today = datetime.now(timezone.utc).date()
    last = _parse_day("--to", end) or today
    first = _parse_day("--from", start) or last.replace(day=1)
    dimensions = list(dict.fromkeys(by or [Dimension.ORG]))
    request = admin_pb2.GetUsageRequest(
        start_day=first.isoformat(),
        end_day=last.isoformat(),
        org=org,
        group_by=[
            usage_pb2.UsageDimension.Value(f"USAGE_DIMENSION_{each.name}") for each in dimensions
        ],
        source=usage_pb2.UsageSource.Value(f"USAGE_SOURCE_{source.name}"),
    )
    answer = open_session(context).ask(lambda admin: admin.GetUsage, request)
    show_json(answer) if json else _show(answer.rows, dimensions, first, last)


def _parse_day(option: str, text: str) -> date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise WrongUse(f"{option}: {text!r} is not a day; write it like 2026-11-30") from None


def _show(
    rows: Sequence[usage_pb2.UsageRow], dimensions: Sequence[Dimension], first: date, last: date
) -> None:
    lines = [[*(getattr(row, each.value) for each in dimensions), *_numbers(row)] for row in rows]
    if len(rows) > 1:
        padding = [""] * (len(dimensions) - 1)
        lines.append([_TOTAL, *padding, *_numbers(_add(rows))])
    show_table(
        [
            *(each.value.upper() for each in dimensions),
            *(">CALLS", ">FAILED", ">UNREPORTED", ">INPUT", ">OUTPUT", ">COST", ">AT HOLDS"),
        ],
        lines,
        empty=f"Nothing was used from {first} to {last}.",
        footer=len(rows) > 1,
    )


def _numbers(row: usage_pb2.UsageRow) -> list[str]:
    meters = row.meters
    inputs = (
        meters.input_token_count
        + meters.cache_read_token_count
        + meters.cache_write_5m_token_count
        + meters.cache_write_1h_token_count
    )
    return [
        f"{row.call_count:,}",
        f"{row.failed_count:,}",
        f"{row.unreported_count:,}",
        f"{inputs:,}",
        f"{meters.output_token_count + meters.reasoning_token_count:,}",
        format_usd(row.cost_nanos),
        format_usd(row.unreported_cost_nanos),
    ]


def _add(rows: Sequence[usage_pb2.UsageRow]) -> usage_pb2.UsageRow:
    total = usage_pb2.UsageRow()
    for row in rows:
        for name in (
            "call_count",
            "failed_count",
            "unreported_count",
            "cost_nanos",
            "unreported_cost_nanos",
        ):
            setattr(total, name, getattr(total, name) + getattr(row, name))
        for field, count in row.meters.ListFields():
            setattr(total.meters, field.name, getattr(total.meters, field.name) + count)
    return total
