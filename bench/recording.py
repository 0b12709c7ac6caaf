"""How fast usage is recorded, in batches, with its rollups."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Final

from opentelemetry.metrics import NoOpMeter

from bench.ledger_data import Extent
from bench.system import processor_seconds
from chassis.database import connect, open_pool
from headgate.ids import IdMaker
from local.postgres import EmbeddedPostgres
from services.accounting.domain.meters import Meter, MeterCounts
from services.accounting.domain.pricebook import CataloguePrice
from services.accounting.domain.pricing import Price, Rate
from services.accounting.domain.usage import Booking, Outcome, Report
from services.accounting.ledger import Ledger
from services.accounting.price_store import PriceStore
from services.accounting.prices import Prices
from services.accounting.store import LogWriter

SCHEMA: Final = "accounting"
BATCH_SIZE: Final = 128
CALL_COUNT: Final = 60_000
# Batches that warm up.
WARM_UP_COUNT: Final = 20
MODELS: Final = [("openai", "model-0"), ("anthropic", "model-1"), ("openai", "model-2")]
_IDS: Final = IdMaker()


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """What was measured."""

    # Calls a second.
    rate: float
    # Processor time of one call.
    python_us: float
    postgres_us: float


async def measure_recording(url: str, extent: Extent, server: EmbeddedPostgres) -> Recording:
    """Books calls of today, with their rollups."""
    price = Price({Meter.INPUT: Rate(150_000_000), Meter.OUTPUT: Rate(600_000_000)})
    pool = await open_pool(url, application_name="bench", schema=SCHEMA, size=2)
    async with pool:
        store = PriceStore(pool)
        await store.import_catalogue(
            [CataloguePrice(provider=p, model=m, price=price) for p, m in MODELS]
        )
        prices = Prices(store)
        await prices.refresh()
        open_writer = partial(connect, url, application_name="bench", schema=SCHEMA)
        ledger = Ledger(writer=LogWriter(open_writer), prices=prices, metrics=NoOpMeter("bench"))
        draw = random.Random(2)
        count = CALL_COUNT // BATCH_SIZE
        batches = [[_report(draw, extent) for _ in range(BATCH_SIZE)] for _ in range(count)]
        # The first batches warm up.
        await _record_all(ledger, batches[:WARM_UP_COUNT])
        batches = batches[WARM_UP_COUNT:]
        used, begin = _processor_seconds(server), time.perf_counter()
        done = await _record_all(ledger, batches)
        seconds = time.perf_counter() - begin
        python, postgres = _processor_seconds(server)
        await ledger.aclose()
    assert done == len(batches) * BATCH_SIZE, "not every call was booked"
    return Recording(
        rate=done / seconds,
        python_us=(python - used[0]) / done * 1e6,
        postgres_us=(postgres - used[1]) / done * 1e6,
    )


async def _record_all(ledger: Ledger, batches: list[list[Report]]) -> int:
    """Two callers, as two gateways: while one's batch is written, the other's is priced."""
    left = deque(batches)

    async def call() -> int:
        booked = 0
        while left:
            answers = await ledger.record(left.popleft())
            booked += sum(isinstance(each, Booking) for each in answers)
        return booked

    return sum(await asyncio.gather(call(), call()))


def _processor_seconds(server: EmbeddedPostgres) -> tuple[float, float]:
    assert server.pid is not None
    return time.process_time(), processor_seconds(server.pid, family=True)


def _report(draw: random.Random, extent: Extent) -> Report:
    org = int(extent.org_count * draw.random() ** 2)
    provider, model = draw.choice(MODELS)
    return Report(
        org=f"org-{org:04}",
        call_id=uuid.UUID(_IDS.make()),
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
