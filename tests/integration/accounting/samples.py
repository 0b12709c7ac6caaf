"""Reports to book: each has an id of its own unless told otherwise."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any, Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from headgate.api.accounting.v1 import accounting_pb2 as pb
from headgate.api.common.v1 import call_pb2
from services.accounting.domain.meters import Meter, MeterCounts
from services.accounting.domain.pricebook import CataloguePrice, PriceEntry
from services.accounting.domain.pricing import Price, Rate
from services.accounting.domain.usage import Outcome, Report
from services.accounting.overrides import Override, PriceKey
from services.accounting.prices import Prices

PROVIDER: Final = "openai"
MODEL: Final = "gpt-4o-mini"
# Nano-dollars per million tokens of the sample book's model.
INPUT_NANOS: Final = 150_000_000
OUTPUT_NANOS: Final = 600_000_000
# What a sample report costs: 100 tokens in, 10 out.
SAMPLE_NANOS: Final = 15_000 + 6_000
SAMPLE_METERS: Final = MeterCounts(input=100, output=10)
SAMPLE_BOOK: Final = (
    CataloguePrice(
        provider=PROVIDER,
        model=MODEL,
        price=Price({Meter.INPUT: Rate(INPUT_NANOS), Meter.OUTPUT: Rate(OUTPUT_NANOS)}),
    ),
    CataloguePrice(
        provider="google",
        model="gemini-2.5-pro",
        price=Price(
            {
                Meter.INPUT: Rate(1_250_000_000, ((200_000, 2_500_000_000),)),
                Meter.CACHE_READ: Rate(125_000_000),
                Meter.OUTPUT: Rate(10_000_000_000),
            }
        ),
    ),
)


def sample_price(nanos: int) -> Price:
    """A price at which the sample report costs `nanos` times 110."""
    return Price({Meter.INPUT: Rate(nanos * 10**6), Meter.OUTPUT: Rate(nanos * 10**6)})


async def put_price(
    prices: Prices,
    *,
    price: Price,
    audit_id: str,
    provider: str = PROVIDER,
    model: str = MODEL,
    org: str = "",
) -> PriceEntry:
    """Writes an override that takes effect at once."""
    override = Override(PriceKey(provider, model, org), price)
    entry = await prices.put(override, audit_id=audit_id)
    assert entry is not None
    return entry


def now() -> dt.datetime:
    """A time of admission: tests and database share a machine, so a clock."""
    return dt.datetime.now(dt.UTC)


def report(**changes: Any) -> Report:
    """A report of the domain."""
    fields: dict[str, Any] = {
        "org": "acme",
        "call_id": uuid.uuid4(),
        "operation": "summarize",
        "provider": PROVIDER,
        "model": MODEL,
        "admit_time": now(),
        "price_version": 1,
        "held_nanos": 50_000,
        "outcome": Outcome.SUCCEEDED,
        "meters": SAMPLE_METERS,
    }
    return Report(**(fields | changes))


def message(**changes: Any) -> pb.UsageReport:
    """A report of the contract."""
    admit_time = Timestamp()
    admit_time.FromDatetime(now())
    fields: dict[str, Any] = {
        "org": "acme",
        "call_id": str(uuid.uuid4()),
        "operation": "summarize",
        "candidate": call_pb2.Candidate(provider=PROVIDER, model=MODEL),
        "admit_time": admit_time,
        "price_version": 1,
        "held_nanos": 50_000,
        "api_key_id": "k_1",
        "labels": {"ticket": "T-1"},
        "outcome": call_pb2.CALL_OUTCOME_SUCCEEDED,
        "meters": call_pb2.UsageMeters(input_token_count=100, output_token_count=10),
        "latency": Duration(seconds=1, nanos=500_000_000),
    }
    return pb.UsageReport(**(fields | changes))
