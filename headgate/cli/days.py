"""Intervals of whole days in UTC, as commands take them."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from typing import Annotated

import typer
from google.protobuf.timestamp_pb2 import Timestamp

from headgate.cli.config import WrongUse

Start = Annotated[str, typer.Option("--from", metavar="DAY", help="First day in UTC.")]
End = Annotated[str, typer.Option("--to", metavar="DAY", help="Last day in UTC.")]


def interval(start: str, end: str) -> tuple[Timestamp, Timestamp]:
    """Returns the first instant and the one after the last. Raises WrongUse."""
    first, last = _midnight("--from", start), _midnight("--to", end)
    found = Timestamp(), Timestamp()
    found[0].FromDatetime(first)
    found[1].FromDatetime(last + timedelta(days=1))
    if last < first:
        raise WrongUse(f"--to: {end} is before {start}")
    return found


def _midnight(option: str, text: str) -> datetime:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise WrongUse(f"{option}: {text!r} is not a day; write it like 2026-11-30") from None
    return datetime(day.year, day.month, day.day, tzinfo=timezone.utc)
