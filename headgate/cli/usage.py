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
from headgate.cli.output import Json, say, show_json, show_table
from headgate.cli.session import open_session
from headgate.money import format_usd


class Dimension(str, enum.Enum):
    """What sums can be split by."""

    DAY = "day"
    ORG = "org"
    OPERATION = "operation"
    PROVIDER = "provider"
    MODEL = "model"
    HOUR = "hour"
    MONTH = "month"
    API_KEY = "api-key"
    USER = "user"
    TEAM = "team"
    FEATURE = "feature"
    LABEL = "label"


class Source(str, enum.Enum):
    """Which table answers."""

    AUTO = "auto"
    LOG = "log"
    ROLLUP = "rollup"


_TOTAL: Final = "total"
_NONE: Final = "(none)"
_BEYOND: Final = "(others)"
# Fields of a row that are not named like their dimension.
_FIELDS: Final = {Dimension.API_KEY: "api_key_id", Dimension.LABEL: "label_value"}
_SOURCES: Final = {
    Source.AUTO: usage_pb2.USAGE_SOURCE_UNSPECIFIED,
    Source.LOG: usage_pb2.USAGE_SOURCE_LOG,
    Source.ROLLUP: usage_pb2.USAGE_SOURCE_ROLLUP,
}
_FILTERS: Final = {
    "operation": "operation",
    "provider": "provider",
    "model": "model",
    "api-key": "api_key_id",
    "user": "user",
    "team": "team",
    "feature": "feature",
}
_VALUED: Final = frozenset(
    {Dimension.API_KEY, Dimension.USER, Dimension.TEAM, Dimension.FEATURE, Dimension.LABEL}
)


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
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="Only these; repeat it. NAME: operation, provider, model, api-key, user, team,"
            " feature or label.KEY.",
        ),
    ] = None,
    label: Annotated[str, typer.Option(help="Key of the label that --by label means.")] = "",
    source: Annotated[Source, typer.Option(help="Which table answers.")] = Source.AUTO,
    scores: Annotated[bool, typer.Option("--scores", help="Show what feedback says.")] = False,
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
        source=_SOURCES[source],
        filter=_parse_filter(where or [], label),
        with_scores=scores,
    )
    answer = open_session(context).ask(lambda admin: admin.GetUsage, request)
    show_json(answer) if json else _show(answer, dimensions, first, last)


def _parse_filter(where: Sequence[str], label: str) -> usage_pb2.UsageFilter:
    found = usage_pb2.UsageFilter(label_key=label)
    for each in where:
        name, equals, value = each.partition("=")
        if name.startswith("label.") and equals:
            found.labels[name.removeprefix("label.")] = value
        elif name in _FILTERS and equals:
            setattr(found, _FILTERS[name], value)
        else:
            raise WrongUse(f"--where: {each!r} is not NAME=VALUE, such as label.ticket=T-1")
    return found


def _parse_day(option: str, text: str) -> date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise WrongUse(f"{option}: {text!r} is not a day; write it like 2026-11-30") from None


def _show(
    answer: admin_pb2.GetUsageResponse, dimensions: Sequence[Dimension], first: date, last: date
) -> None:
    rows = answer.rows
    titles = _extra_titles(answer)

    def numbers(row: usage_pb2.UsageRow) -> list[str]:
        return [*_numbers(row), *_extra_numbers(row, titles)]

    lines = [[*(_value(row, each) for each in dimensions), *numbers(row)] for row in rows]
    if len(rows) > 1:
        padding = [""] * (len(dimensions) - 1)
        lines.append([_TOTAL, *padding, *numbers(answer.total)])
    show_table(
        [
            *(each.value.upper() for each in dimensions),
            *(">CALLS", ">FAILED", ">UNREPORTED", ">INPUT", ">CACHED", ">OUTPUT", ">P95 MS"),
            *(">COST", ">AT HOLDS", *titles),
        ],
        lines,
        empty=f"Nothing was used from {first} to {last}.",
        footer=len(rows) > 1,
    )
    if answer.dropped_days:
        days = f"{answer.dropped_days[0]} to {answer.dropped_days[-1]}"
        say(f"Not in these sums: the log of {days} was dropped. Ask for what rollups can answer.")


def _extra_titles(answer: admin_pb2.GetUsageResponse) -> list[str]:
    # What few have needs no empty column.
    total = answer.total
    titles = [">SAVED"] if total.HasField("saved_nanos") else []
    titles += [">APPROVED"] if total.approved_count else []
    metrics = {score.metric for row in (total, *answer.rows) for score in row.scores}
    return [*titles, *(f">{metric}" for metric in sorted(metrics))]


def _extra_numbers(row: usage_pb2.UsageRow, titles: Sequence[str]) -> list[str]:
    found = {f">{each.metric}": f"{each.mean:.3f} ({each.call_count:,})" for each in row.scores}
    found[">SAVED"] = format_usd(row.saved_nanos) if row.HasField("saved_nanos") else ""
    found[">APPROVED"] = f"{row.approved_ratio:.0%}" if row.HasField("approved_ratio") else ""
    return [found.get(title, "") for title in titles]


def _value(row: usage_pb2.UsageRow, dimension: Dimension) -> str:
    value = str(getattr(row, _FIELDS.get(dimension, dimension.value)))
    if dimension in _VALUED and not value:
        return _BEYOND if row.beyond_bound else _NONE
    return value


def _numbers(row: usage_pb2.UsageRow) -> list[str]:
    meters = row.meters
    inputs = (
        meters.input_token_count
        + meters.cache_read_token_count
        + meters.cache_write_5m_token_count
        + meters.cache_write_1h_token_count
        + meters.audio_input_token_count
        + meters.audio_cache_read_token_count
        + meters.image_input_token_count
        + meters.image_cache_read_token_count
    )
    outputs = (
        meters.output_token_count
        + meters.reasoning_token_count
        + meters.audio_output_token_count
        + meters.image_output_token_count
    )
    return [
        f"{row.call_count:,}",
        f"{row.failed_count:,}",
        f"{row.unreported_count:,}",
        f"{inputs:,}",
        f"{row.cache_hit_ratio:.0%}" if row.HasField("cache_hit_ratio") else "",
        f"{outputs:,}",
        f"{row.latency_p95_ms:,}" if row.HasField("latency_p95_ms") else "",
        format_usd(row.cost_nanos),
        format_usd(row.unreported_cost_nanos),
    ]
