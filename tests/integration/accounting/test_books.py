"""What staff do to the books: each correction is a revision, and the sums follow to the nano."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.database import Connection
from headgate.api.accounting.v1 import accounting_pb2, books_pb2_grpc
from headgate.api.accounting.v1 import books_pb2 as pb
from headgate.api.common.v1 import book_pb2, call_pb2, price_pb2
from services.accounting.verification import find_differences
from tests.integration.accounting.refusals import refusal
from tests.integration.accounting.replicas import Stub
from tests.integration.accounting.samples import (
    MODEL,
    PROVIDER,
    SAMPLE_NANOS,
    message,
    now,
)

WHOLE = dt.timedelta(days=5)
NOON = now() - dt.timedelta(minutes=5)


@pytest_asyncio.fixture
async def books(channel: grpc.aio.Channel) -> AsyncIterator[Any]:
    yield books_pb2_grpc.BookServiceStub(channel)


def instant(time: dt.datetime) -> Timestamp:
    found = Timestamp()
    found.FromDatetime(time)
    return found


async def book(stub: Stub, **changes: Any) -> str:
    report = message(**changes)
    answer = await stub.Record(accounting_pb2.RecordRequest(reports=[report]))
    assert answer.results[0].booking.first, answer
    return report.call_id


async def assert_sums_hold(admin: Connection, cost_nanos: int) -> None:
    for row in await admin.fetch("SELECT DISTINCT day FROM rollup"):
        assert await find_differences(admin, row["day"]) == []
    assert await admin.fetchval("SELECT sum(cost_nanos)::bigint FROM rollup_platform_day") == (
        cost_nanos
    )


async def test_a_credit_is_a_revision_that_the_feed_gives_on(
    stub: Stub, books: Any, admin: Connection
) -> None:
    call_id = await book(stub, labels={"ticket": "T-1"})
    credit = pb.AdjustUsageRequest(
        org="acme", call_id=call_id, delta_nanos=-1_000, note="refund", audit_id="a1"
    )
    first = await books.AdjustUsage(credit)
    again = await books.AdjustUsage(credit)
    credit.audit_id, credit.delta_nanos = "a2", 500
    second = await books.AdjustUsage(credit)

    assert (first.total_nanos, first.revision) == (SAMPLE_NANOS - 1_000, 2)
    assert again == first
    assert (second.total_nanos, second.revision) == (SAMPLE_NANOS - 500, 3)
    await assert_sums_hold(admin, SAMPLE_NANOS - 500)
    row = await admin.fetchrow("SELECT note, audit_id, cost_basis FROM usage_log WHERE revision=2")
    assert row is not None
    assert tuple(row) == ("refund", "a1", call_pb2.COST_BASIS_STATED)
    usage = await stub.GetUsage(
        accounting_pb2.GetUsageRequest(
            start_day=now().date().isoformat(), end_day=now().date().isoformat()
        )
    )
    assert usage.total.call_count == 1
    assert usage.total.cost_nanos == SAMPLE_NANOS - 500


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"delta_nanos": 0}, "delta_nanos"),
        ({"delta_nanos": -(2**62)}, "delta_nanos"),
        ({"delta_nanos": -SAMPLE_NANOS - 1}, "delta_nanos"),
        ({"note": ""}, "note"),
        ({"call_id": "x"}, "call_id"),
        ({"audit_id": ""}, "audit_id"),
    ],
)
async def test_a_wrong_adjustment_names_its_field_and_changes_nothing(
    stub: Stub, books: Any, admin: Connection, changes: dict[str, Any], field: str
) -> None:
    call_id = await book(stub)
    fields: dict[str, Any] = {
        "org": "acme",
        "call_id": call_id,
        "delta_nanos": -1,
        "note": "n",
        "audit_id": "a",
    }
    error = await refusal(books.AdjustUsage(pb.AdjustUsageRequest(**(fields | changes))))

    assert error.violations[0].field == field
    await assert_sums_hold(admin, SAMPLE_NANOS)


async def test_a_call_that_is_not_booked_cannot_be_corrected(books: Any) -> None:
    error = await refusal(
        books.AdjustUsage(
            pb.AdjustUsageRequest(
                org="acme", call_id=str(uuid.uuid4()), delta_nanos=1, note="n", audit_id="a"
            )
        )
    )

    assert error.code is grpc.StatusCode.NOT_FOUND


def manual(**changes: Any) -> pb.RecordManualUsageRequest:
    fields: dict[str, Any] = {
        "call_id": str(uuid.uuid4()),
        "org": "acme",
        "operation": "batch",
        "candidate": call_pb2.Candidate(provider=PROVIDER, model=MODEL),
        "use_time": instant(NOON),
        "note": "ran elsewhere",
    }
    return pb.RecordManualUsageRequest(
        usage=book_pb2.ManualUsage(**(fields | changes)), audit_id="a"
    )


async def test_usage_by_hand_is_priced_or_stated_and_booked_once(
    books: Any, admin: Connection
) -> None:
    meters = call_pb2.UsageMeters(input_token_count=100, output_token_count=10)
    priced = await books.RecordManualUsage(manual(meters=meters))
    wanted = manual(total_nanos=77)
    stated = await books.RecordManualUsage(wanted)
    again = await books.RecordManualUsage(wanted)
    wanted.usage.total_nanos = 78
    error = await refusal(books.RecordManualUsage(wanted))

    assert (priced.total_nanos, priced.replayed) == (SAMPLE_NANOS, False)
    assert (stated.total_nanos, stated.replayed) == (77, False)
    assert (again.total_nanos, again.replayed) == (77, True)
    assert error.code is grpc.StatusCode.ALREADY_EXISTS
    await assert_sums_hold(admin, SAMPLE_NANOS + 77)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({}, "usage.meters"),
        ({"total_nanos": -1}, "usage.total_nanos"),
        ({"total_nanos": 1, "note": ""}, "usage.note"),
        ({"total_nanos": 1, "org": ""}, "usage.org"),
        ({"total_nanos": 1, "use_time": instant(now() + dt.timedelta(days=1))}, "usage.use_time"),
    ],
)
async def test_wrong_usage_by_hand_names_its_field(
    books: Any, changes: dict[str, Any], field: str
) -> None:
    error = await refusal(books.RecordManualUsage(manual(**changes)))

    assert error.violations[0].field.endswith(field.removeprefix("usage."))


def price(nanos: int, model: str = MODEL, **changes: Any) -> price_pb2.ModelPrice:
    fields: dict[str, Any] = {"provider": PROVIDER, "model": model}
    found = price_pb2.ModelPrice(**(fields | changes))
    for meter in (price_pb2.METER_INPUT, price_pb2.METER_OUTPUT):
        found.meters.add(meter=meter, nanos_per_million=nanos * 10**6)
    return found


REFUSED = "SELECT title FROM alert WHERE type = 'prices.refused' AND state <> 3"


async def test_an_import_is_one_version_or_nothing(
    stub: Stub, books: Any, admin: Connection
) -> None:
    good = [price(2), price(3, model="other", org="acme")]
    request = pb.ImportPricesRequest(prices=good, validate_only=True, audit_id="a")
    tried = await books.ImportPrices(request)
    request.validate_only = False
    done = await books.ImportPrices(request)
    again = await books.ImportPrices(request)
    bad = pb.ImportPricesRequest(prices=[price(9), price(-1, model="x"), price(9)], audit_id="b")
    bad.validate_only = True
    await refusal(books.ImportPrices(bad))
    assert await admin.fetch(REFUSED) == []
    bad.validate_only = False
    error = await refusal(books.ImportPrices(bad))
    (alert,) = await admin.fetch(REFUSED)

    assert alert["title"].startswith("3 prices of the import are refused: prices[1].meters[0]")
    assert (tried.version, tried.changed_count) == (1, 2)
    assert (done.version, done.changed_count, done.unchanged_count) == (2, 2, 0)
    assert (again.version, again.changed_count, again.unchanged_count) == (2, 0, 2)
    assert [each.field for each in error.violations] == [
        "prices[1].meters[0].nanos_per_million",
        "prices[1].meters[1].nanos_per_million",
        "prices[2]",
    ]
    assert (await stub.GetPriceBook(accounting_pb2.GetPriceBookRequest())).version == 2
    await books.ImportPrices(request)
    assert await admin.fetch(REFUSED) == []


async def test_a_bill_is_compared_and_a_difference_is_an_alert(
    stub: Stub, books: Any, admin: Connection
) -> None:
    await book(stub)
    day = now().date().isoformat()
    line = f"{day},0.000021,usd,{MODEL}-2024-07-18\n"
    request = pb.ReconcileBillRequest(
        provider=PROVIDER,
        content=f"day,cost,currency,model\n{line}".encode(),
        format=book_pb2.BILL_FORMAT_CSV,
        audit_id="a",
    )
    same = await books.ReconcileBill(request)
    assert await admin.fetchval("SELECT count(*) FROM alert") == 0
    request.content += line.encode()
    twice = await books.ReconcileBill(request)
    request.content = b"day,cost,currency\n2026-10-01,1,EUR\n"
    error = await refusal(books.ReconcileBill(request))

    assert (same.total.difference_nanos, same.total.exceeds) == (0, False)
    assert [each.model for each in same.deviations] == [MODEL]
    assert (twice.total.difference_basis_points, twice.total.exceeds) == (-5_000, True)
    assert await admin.fetchval("SELECT count(*) FROM alert") == 1
    assert error.violations[0].field == "content"
    assert "only US dollars" in error.violations[0].description


async def test_exported_counts_are_priced_and_compared(stub: Stub, books: Any) -> None:
    await book(stub)
    start = dt.datetime.combine(now().date(), dt.time(), dt.UTC)
    # Priced by what is in force since the books began, which is now.
    right = price_pb2.ModelPrice(
        provider=PROVIDER, model=MODEL, effective_time=instant(now() - WHOLE)
    )
    for meter, nanos in ((price_pb2.METER_INPUT, 150), (price_pb2.METER_OUTPUT, 600)):
        right.meters.add(meter=meter, nanos_per_million=nanos * 10**6)
    await stub.PutPrice(accounting_pb2.PutPriceRequest(price=right, audit_id="p"))
    counted = {"model": f"{MODEL}-2024-07-18", "input_tokens": 200, "output_tokens": 20}
    bucket = {"start_time": int(start.timestamp()), "results": [counted]}
    request = pb.ReconcileBillRequest(
        provider=PROVIDER,
        content=json.dumps({"data": [bucket]}).encode(),
        format=book_pb2.BILL_FORMAT_OPENAI_USAGE,
        audit_id="a",
    )
    answer = await books.ReconcileBill(request)
    counted["model"] = "unheard-of"
    request.content = json.dumps({"data": [bucket]}).encode()
    error = await refusal(books.ReconcileBill(request))

    assert [each.model for each in answer.deviations] == [MODEL]
    assert (answer.total.billed_nanos, answer.total.booked_nanos) == (
        2 * SAMPLE_NANOS,
        SAMPLE_NANOS,
    )
    assert answer.total.exceeds
    assert "unheard-of" in error.violations[0].description
