"""How fast the books answer and record, beside the raw log of the same run.

`python -m bench.accounting [--json] [--calls N] [--trace FILE] [--cycle]`. Makes a database of its
own with N calls of 1,000 orgs over 90 days, whose sizes are drawn from the trace; with 10,000,000
it needs some minutes and 8 GB of disk. `--cycle` runs the whole system too: a call admitted and
completed, beside a bare echo.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import secrets
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

import asyncpg
import structlog
from opentelemetry.metrics import NoOpMeter
from rich.console import Console
from rich.table import Table

from bench.ledger_data import TRACE, Extent, fill, measure_sizes, read_trace
from chassis.database import connect, open_pool
from chassis.migrations import migrate
from chassis.provision import owner_role, provision, runtime_role
from local import config
from local.layout import with_user
from local.postgres import EmbeddedPostgres
from services.accounting.domain.meters import Meter, MeterCounts
from services.accounting.domain.pricebook import CataloguePrice
from services.accounting.domain.pricing import Price, Rate
from services.accounting.domain.summaries import Source, UsageQuery
from services.accounting.domain.usage import Booking, Outcome, Report
from services.accounting.ledger import Ledger
from services.accounting.price_store import PriceStore
from services.accounting.prices import Prices
from services.accounting.store import LogWriter
from services.accounting.summaries import Summaries

SCHEMA: Final = "accounting"
BATCH_SIZE: Final = 128
QUERY_COUNT: Final = 200
RAW_COUNT: Final = 5
RECORD_SECONDS: Final = 8.0
MONTH: Final = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One row of the table."""

    name: str
    # "ms", "calls/s" or "bytes".
    unit: str
    p50: float
    p95: float | None = None
    # Times as fast as the raw log, or parts of the echo.
    ratio: float | None = None


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
        figures = asyncio.run(_run(server.url, extent, options.trace))
    if options.cycle:
        figures += _run_cycle()
    if options.json:
        print(json.dumps({each.name: _facts(each) for each in figures}, indent=2))
    else:
        _show(figures)


def _facts(figure: Figure) -> dict[str, float]:
    known = {figure.unit: figure.p50, f"p95 {figure.unit}": figure.p95, "ratio": figure.ratio}
    return {name: round(value, 4) for name, value in known.items() if value is not None}


async def _run(url: str, extent: Extent, trace: Path) -> list[Figure]:
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
        figures.append(await _measure_record(runtime, extent))
    finally:
        await admin.close()
    for name, size in sorted(sizes.items()):
        label = "bytes-per-call" if name == "usage_log" else f"bytes-per-call {name}"
        figures.append(Figure(name=label, unit="bytes", p50=size / extent.call_count))
    return figures


def _tell(whole: int, done: int) -> None:
    print(f"\r{done:,} of {whole:,} calls made", end="" if done < whole else "\n", file=sys.stderr)


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
    middle = statistics.median(raw)
    return [
        _milliseconds("query-30d-platform", platform, middle),
        _milliseconds("query-30d-org", org, middle),
        _milliseconds("query-30d-raw", raw, middle),
        _milliseconds("query-30d-raw-org", raw_org, middle),
    ]


async def _time(work: Callable[[], Awaitable[None]], count: int) -> list[float]:
    await work()
    times = []
    for _ in range(count):
        begin = time.perf_counter()
        await work()
        times.append(1_000 * (time.perf_counter() - begin))
    return sorted(times)


def _milliseconds(name: str, times: list[float], raw: float) -> Figure:
    p95 = times[min(len(times) - 1, int(len(times) * 0.95))]
    middle = statistics.median(times)
    return Figure(name=name, unit="ms", p50=middle, p95=p95, ratio=raw / middle)


async def _measure_record(url: str, extent: Extent) -> Figure:
    price = Price({Meter.INPUT: Rate(150_000_000), Meter.OUTPUT: Rate(600_000_000)})
    pool = await open_pool(url, application_name="bench", schema=SCHEMA, size=2)
    async with pool:
        store = PriceStore(pool)
        models = [("openai", "model-0"), ("anthropic", "model-1"), ("openai", "model-2")]
        await store.import_catalogue(
            [CataloguePrice(provider=p, model=m, price=price) for p, m in models]
        )
        prices = Prices(store)
        await prices.refresh()
        open_writer = partial(connect, url, application_name="bench", schema=SCHEMA)
        ledger = Ledger(writer=LogWriter(open_writer), prices=prices, metrics=NoOpMeter("bench"))
        draw = random.Random(2)
        done, rates = 0, []
        until = time.perf_counter() + RECORD_SECONDS
        while time.perf_counter() < until:
            batch = [_report(draw, extent, models) for _ in range(BATCH_SIZE)]
            begin = time.perf_counter()
            answers = await ledger.record(batch)
            rates.append(BATCH_SIZE / (time.perf_counter() - begin))
            done += sum(isinstance(each, Booking) for each in answers)
        await ledger.aclose()
    assert done == len(rates) * BATCH_SIZE, "not every call was booked"
    # The first batches warm up.
    name = f"record-batch-{BATCH_SIZE}"
    return Figure(name=name, unit="calls/s", p50=statistics.median(rates[5:]))


def _report(draw: random.Random, extent: Extent, models: list[tuple[str, str]]) -> Report:
    org = int(extent.org_count * draw.random() ** 2)
    provider, model = draw.choice(models)
    return Report(
        org=f"org-{org:04}",
        call_id=uuid.UUID(int=draw.getrandbits(128)),
        operation=f"operation-{draw.randrange(4)}",
        provider=provider,
        model=model,
        admit_time=datetime.now(UTC),
        price_version=1,
        held_nanos=1_000_000,
        outcome=Outcome.SUCCEEDED,
        meters=MeterCounts(input=draw.randrange(1, 4_000), output=draw.randrange(1, 800)),
        api_key_id=f"k_{org:012}",
        team=f"team-{org % 7}",
        latency_ms=draw.randrange(300, 9_000),
    )


def _run_cycle() -> list[Figure]:
    words = [sys.executable, "-m", "bench.admit", "--json", "--only", "echo-64,cycle-64"]
    output = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    found = json.loads(output)
    rows = found.get("shapes", found)
    cycle = rows["cycle-64"]
    return [Figure(name="cycle-64", unit="calls/s", p50=cycle["rate"], ratio=cycle.get("ratio"))]


def _show(figures: list[Figure]) -> None:
    table = Table()
    for header in ("figure", "unit", "p50", "p95", "ratio"):
        table.add_column(header, justify="left" if header in ("figure", "unit") else "right")
    for each in figures:
        numbers = (each.p50, each.p95, each.ratio)
        texts = ("" if number is None else f"{number:,.2f}" for number in numbers)
        table.add_row(each.name, each.unit, *texts)
    Console().print(table)


if __name__ == "__main__":
    main()
