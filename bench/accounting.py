"""How fast the books answer and record, beside the raw log of the same run.

`python -m bench.accounting [--json] [--calls N] [--trace FILE] [--cycle]`. Makes a database of its
own with N calls of 1,000 orgs over 90 days, whose sizes are drawn from the trace; with 10,000,000
it needs half an hour and 12 GB of disk. `--cycle` runs the whole system too: a call admitted and
completed, beside a bare echo and beside Postgres alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import secrets
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

import asyncpg
import structlog
from rich.console import Console
from rich.table import Table

from bench.cycle import run_cycle
from bench.ledger_data import TRACE, Extent, fill, measure_sizes, read_trace
from bench.recording import BATCH_SIZE, SCHEMA, measure_recording
from chassis.database import open_pool
from chassis.migrations import migrate
from chassis.provision import owner_role, provision, runtime_role
from local import config
from local.layout import with_user
from local.postgres import EmbeddedPostgres
from services.accounting.domain.summaries import Source, UsageQuery
from services.accounting.summaries import Summaries

QUERY_COUNT: Final = 200
RAW_COUNT: Final = 5
MONTH: Final = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One row of the table."""

    name: str
    # "ms", "calls/s", "us" or "bytes".
    unit: str
    p50: float
    p95: float | None = None
    # Times as fast as the whole raw log; of a cycle: parts of the echo.
    ratio: float | None = None
    # Times as fast as the raw log of the same org; of a cycle: parts of Postgres alone.
    like_ratio: float | None = None


def main() -> None:
    """Runs the bench."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--cycle", action="store_true")
    parser.add_argument("--calls", type=int, default=10_000_000)
    parser.add_argument("--orgs", type=int, default=1_000)
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--trace", type=Path, default=TRACE)
    options = parser.parse_args()
    # What migrations tell is not part of the answer.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    extent = Extent(
        call_count=options.calls, org_count=options.orgs, day_count=max(options.days, 31)
    )
    with EmbeddedPostgres(temporary=True) as server:
        figures = asyncio.run(_run(server, extent, options.trace))
    if options.cycle:
        figures += _run_cycle()
    if options.json:
        print(json.dumps({each.name: _facts(each) for each in figures}, indent=2))
    else:
        _show(figures)


def _facts(figure: Figure) -> dict[str, float]:
    known = {
        figure.unit: figure.p50,
        f"p95 {figure.unit}": figure.p95,
        "ratio": figure.ratio,
        "like ratio": figure.like_ratio,
    }
    return {name: round(value, 4) for name, value in known.items() if value is not None}


async def _run(server: EmbeddedPostgres, extent: Extent, trace: Path) -> list[Figure]:
    url = server.url
    password = secrets.token_urlsafe(16)
    await provision(url, name=SCHEMA, owner_password=password, runtime_password=password)
    owner = with_user(url, owner_role(SCHEMA), password)
    folder = config.CHECKOUT / "services/accounting/sql/migrations"
    await migrate(owner, schema=SCHEMA, directory=folder)
    runtime = with_user(url, runtime_role(SCHEMA), password)
    admin = await asyncpg.connect(
        url, server_settings={"search_path": SCHEMA, "timezone": "UTC", "jit": "off"}
    )
    try:
        await fill(admin, extent, read_trace(trace), partial(_tell, extent.call_count))
        sizes = await measure_sizes(admin)
        figures = await _measure_queries(runtime, extent)
        figures += await _measure_record(runtime, extent, server)
    finally:
        await admin.close()
    for name, size in sorted(sizes.items()):
        label = "bytes-per-call" if name == "usage_log" else f"bytes-per-call {name}"
        figures.append(Figure(name=label, unit="bytes", p50=size / extent.call_count))
    return figures


def _tell(whole: int, done: int) -> None:
    end = "" if sys.stderr.isatty() and done < whole else "\n"
    print(f"\r{done:,} of {whole:,} calls made", end=end, file=sys.stderr, flush=True)


async def _measure_queries(url: str, extent: Extent) -> list[Figure]:
    pool = await open_pool(
        url, application_name="bench", schema=SCHEMA, size=2, statement_timeout_ms=600_000
    )
    async with pool:
        summaries = Summaries(pool)
        end = datetime.combine(
            datetime.now(UTC).date() + timedelta(days=1), datetime.min.time(), UTC
        )
        draw = random.Random(1)

        async def ask(org: str = "", source: Source | None = None) -> None:
            query = UsageQuery(start=end - MONTH, end=end, org=org)
            page = await summaries.answer(query, source=source, count=10_000, after=None)
            assert page.total is not None or org

        def some_org() -> str:
            return f"org-{draw.randrange(extent.org_count):04}"

        platform = await _time(ask, QUERY_COUNT)
        org = await _time(lambda: ask(some_org()), QUERY_COUNT)
        raw = await _time(lambda: ask(source=Source.LOG), RAW_COUNT)
        raw_org = await _time(lambda: ask(some_org(), Source.LOG), RAW_COUNT)
    return [
        _milliseconds("query-30d-platform", platform, raw),
        _milliseconds("query-30d-org", org, raw, raw_org),
        _milliseconds("query-30d-raw", raw, raw),
        _milliseconds("query-30d-raw-org", raw_org, raw),
    ]


async def _time(work: Callable[[], Awaitable[None]], count: int) -> list[float]:
    await work()
    times = []
    for _ in range(count):
        begin = time.perf_counter()
        await work()
        times.append(1_000 * (time.perf_counter() - begin))
    return sorted(times)


def _milliseconds(
    name: str, times: list[float], raw: list[float], like: list[float] | None = None
) -> Figure:
    middle = statistics.median(times)
    return Figure(
        name=name,
        unit="ms",
        p50=middle,
        p95=times[min(len(times) - 1, int(len(times) * 0.95))],
        ratio=statistics.median(raw) / middle,
        like_ratio=statistics.median(like) / middle if like else None,
    )


async def _measure_record(url: str, extent: Extent, server: EmbeddedPostgres) -> list[Figure]:
    found = await measure_recording(url, extent, server)
    name = f"record-batch-{BATCH_SIZE}"
    return [
        Figure(name=name, unit="calls/s", p50=found.rate),
        Figure(name=f"{name} Python", unit="us", p50=found.python_us),
        Figure(name=f"{name} Postgres", unit="us", p50=found.postgres_us),
    ]


def _run_cycle() -> list[Figure]:
    rates = run_cycle()
    echo = rates.pop("echo-64")
    figures = [Figure(name="echo-64", unit="calls/s", p50=echo)]
    for name, rpcs in (("cycle-64", 2), ("complete-64", 1)):
        rate, alone = rates[name], rates[f"{name}-alone"]
        figures.append(
            Figure(
                name=name,
                unit="calls/s",
                p50=rate,
                ratio=rate * rpcs / echo,
                like_ratio=rate / alone,
            )
        )
        figures.append(Figure(name=f"{name}-alone", unit="calls/s", p50=alone))
    return figures


def _show(figures: list[Figure]) -> None:
    table = Table()
    for header in ("figure", "unit", "p50", "p95", "ratio", "like ratio"):
        table.add_column(header, justify="left" if header in ("figure", "unit") else "right")
    for each in figures:
        numbers = (each.p50, each.p95, each.ratio, each.like_ratio)
        texts = ("" if number is None else f"{number:,.2f}" for number in numbers)
        table.add_row(each.name, each.unit, *texts)
    Console().print(table)


if __name__ == "__main__":
    main()
