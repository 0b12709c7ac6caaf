"""Lets old days of the log go: verified, summed up, written out, and then dropped whole."""

from __future__ import annotations

import datetime as dt
import gzip
import os
from dataclasses import dataclass
from pathlib import Path

import structlog

from chassis.database import Connection
from services.accounting.books.exports import Format, write_parts
from services.accounting.domain.usage import HORIZON
from services.accounting.queries import BOOKS
from services.accounting.verification import find_differences, rebuild

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """One day that was let go."""

    day: dt.date
    row_count: int
    cost_nanos: int
    # Rollups that had differed from the log, and were made anew before it went.
    difference_count: int
    # None: nothing was written out.
    path: Path | None


async def list_expired_days(connection: Connection, retention_days: int) -> list[dt.date]:
    """Returns the days of the log that are older than the retention."""
    rows = await connection.fetch(BOOKS.list_expired_days.sql, retention_days)
    return [row["day"] for row in rows]


async def seal_and_drop(
    connection: Connection, day: dt.date, *, export_directory: Path | None
) -> Sealed:
    """Verifies a day, writes it out, records its sums and drops its log.

    Stopped anywhere it can be run again: the log goes last, and only if it is what was sealed.
    """
    differences = await find_differences(connection, day)
    if differences:
        await rebuild(connection, day)
    path = None
    if export_directory is not None:
        path = await _write_out(connection, day, export_directory)
    sealed = await connection.fetchrow(BOOKS.seal_day.sql, day)
    assert sealed is not None  # noqa: S101 - the statement always returns its row
    await connection.fetchval(BOOKS.drop_sealed_day.sql, day, HORIZON)
    return Sealed(
        day=day,
        row_count=sealed["row_count"],
        cost_nanos=int(sealed["cost_nanos"]),
        difference_count=len(differences),
        path=path,
    )


async def _write_out(connection: Connection, day: dt.date, directory: Path) -> Path:
    path = directory / f"usage_log_{day:%Y%m%d}.csv.gz"
    unfinished = path.with_suffix(".unfinished")
    start = dt.datetime.combine(day, dt.time(), dt.UTC)
    end = start + dt.timedelta(days=1)
    with gzip.open(unfinished, "wb") as file:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            async for part in write_parts(connection, Format.CSV, start=start, end=end, org=""):
                file.write(part.data)
    with unfinished.open("rb") as written:
        os.fsync(written.fileno())
    unfinished.replace(path)
    return path
