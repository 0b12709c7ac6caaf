"""What calls saved against the baseline, and which a person approved: exact in every sum."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any, Final

import grpc
import pytest

from chassis.database import Connection
from headgate.api.accounting.v1 import accounting_pb2 as pb
from headgate.api.accounting.v1 import books_pb2, books_pb2_grpc
from headgate.api.common.v1 import call_pb2, usage_pb2
from services.accounting.domain.meters import NO_METERS, UNIT_COUNT_MAX, MeterCounts
from services.accounting.domain.pricing import PRICE_MAX
from services.accounting.domain.usage import Outcome
from services.accounting.verification import find_differences
from tests.integration.accounting.replicas import Replica, Stub
from tests.integration.accounting.samples import (
    SAMPLE_NANOS,
    message,
    now,
    put_price,
    report,
    sample_price,
)

DEAR: Final = ("google", "gemini-2.5-pro")
# 100 tokens in at $1.25 a million, 10 out at $10.
DEAR_NANOS: Final = 100 * 1_250 + 10 * 10_000
SAVED: Final = DEAR_NANOS - SAMPLE_NANOS


async def sums(admin: Connection) -> list[tuple[Any, ...]]:
    rows = await admin.fetch(
        "SELECT level, sum(baseline_nanos)::bigint, sum(saved_nanos)::bigint,"
        " sum(approved_count)::bigint FROM rollup WHERE level <> 3 GROUP BY level ORDER BY level"
    )
    assert await find_differences(admin, now().date()) == []
    return [tuple(row)[1:] for row in rows]


async def test_calls_save_what_the_baselines_model_would_have_cost_more(
    replica: Replica, admin: Connection
) -> None:
    await replica.ledger.record(
        [
            report(baseline=DEAR),
            # The baseline itself saves nothing, and a dearer model less than nothing.
            report(baseline=DEAR, provider=DEAR[0], model=DEAR[1]),
            report(baseline=("openai", "gpt-4o-mini"), provider=DEAR[0], model=DEAR[1]),
        ]
    )

    assert await sums(admin) == [(2 * DEAR_NANOS + SAMPLE_NANOS, SAVED + 0 - SAVED, 0)] * 3


async def test_nothing_is_said_of_calls_that_cannot_be_compared(
    replica: Replica, admin: Connection
) -> None:
    await put_price(
        replica.prices, price=sample_price(PRICE_MAX // 10**6), audit_id="a", model="absurd"
    )
    version = (await replica.prices.refresh()).version
    many = MeterCounts(input=UNIT_COUNT_MAX, output=UNIT_COUNT_MAX)
    await replica.ledger.record(
        [
            report(),
            report(baseline=("nobody", "unpriced")),
            report(baseline=DEAR, outcome=Outcome.ABORTED, meters=NO_METERS),
            report(baseline=DEAR, outcome=Outcome.REJECTED, meters=NO_METERS),
            report(baseline=DEAR, model="unpriced"),
            # The amount does not fit; the call is booked all the same.
            report(baseline=("openai", "absurd"), meters=many, price_version=version),
        ]
    )

    assert await sums(admin) == [(None, None, 0)] * 3
    assert await admin.fetchval("SELECT count(*) FROM usage_log") == 6


async def test_the_baseline_has_the_price_version_of_the_call_and_the_orgs_own_price(
    replica: Replica, admin: Connection
) -> None:
    early = report(baseline=DEAR)
    await put_price(
        replica.prices,
        price=sample_price(1_000_000),
        audit_id="a",
        provider=DEAR[0],
        model=DEAR[1],
        org="acme",
    )
    version = (await replica.prices.refresh()).version
    await replica.ledger.record([early, report(baseline=DEAR, price_version=version)])

    assert (
        await sums(admin)
        == [(DEAR_NANOS + 110_000_000, SAVED + 110_000_000 - SAMPLE_NANOS, 0)] * 3
    )


async def test_a_credit_is_saved_too_and_one_on_a_call_without_baseline_is_not(
    replica: Replica, channel: grpc.aio.Channel, admin: Connection
) -> None:
    compared, other = report(baseline=DEAR), report()
    await replica.ledger.record([compared, other])
    books: Any = books_pb2_grpc.BookServiceStub(channel)
    for place, each in enumerate((compared, other, compared)):
        await books.AdjustUsage(
            books_pb2.AdjustUsageRequest(
                org="acme",
                call_id=str(each.call_id),
                delta_nanos=-1_000,
                note="credit",
                audit_id=f"a{place}",
            )
        )

    assert await sums(admin) == [(DEAR_NANOS, SAVED + 2_000, 0)] * 3


async def test_the_log_the_rollups_and_the_answer_tell_the_same(
    replica: Replica, stub: Stub
) -> None:
    await replica.ledger.record(
        [report(baseline=DEAR), report(baseline=DEAR, approved=True), report(approved=True)]
        + [report()]
    )
    today = now().date().isoformat()
    answers = [
        await stub.GetUsage(pb.GetUsageRequest(start_day=today, end_day=today, source=source))
        for source in (usage_pb2.USAGE_SOURCE_LOG, usage_pb2.USAGE_SOURCE_ROLLUP)
    ]

    assert answers[0].rows == answers[1].rows
    (row,) = answers[0].rows
    assert (row.baseline_nanos, row.saved_nanos) == (2 * DEAR_NANOS, 2 * SAVED)
    assert (row.approved_count, row.approved_ratio) == (2, 0.5)


async def test_the_baseline_comes_with_the_report(stub: Stub, admin: Connection) -> None:
    dear = call_pb2.Candidate(provider=DEAR[0], model=DEAR[1])
    nameless = call_pb2.Candidate(provider=DEAR[0])
    answer = await stub.Record(
        pb.RecordRequest(
            reports=[message(baseline_model=dear), message(), message(baseline_model=nameless)]
        )
    )

    assert await sums(admin) == [(DEAR_NANOS, SAVED, 0)] * 3
    (violation,) = answer.results[2].error.violations
    assert violation.field == "reports[2].baseline_model.model"


async def test_whether_it_was_approved_is_part_of_what_a_report_says(stub: Stub) -> None:
    call_id, time = str(uuid.uuid4()), message().admit_time
    same: dict[str, Any] = {"call_id": call_id, "admit_time": time}
    answers = [
        (await stub.Record(pb.RecordRequest(reports=[message(**same, approved=approved)])))
        for approved in (True, True, False)
    ]
    kinds = [answer.results[0].WhichOneof("result") for answer in answers]

    assert kinds == ["booking", "booking", "error"]
    assert answers[1].results[0].booking.first is False
    assert answers[2].results[0].error.reason == "ID_REUSED"


@pytest.mark.parametrize("source", [usage_pb2.USAGE_SOURCE_LOG, 0])
async def test_days_whose_log_was_dropped_are_named_when_only_the_log_could_tell(
    stub: Stub, admin: Connection, source: int
) -> None:
    gone = now().date() - dt.timedelta(days=100)
    await admin.execute("INSERT INTO sealed_day VALUES ($1, 1, 1, 7)", gone)
    # Sealed, but still there.
    await admin.execute("INSERT INTO sealed_day VALUES ($1, 1, 1, 7)", now().date())
    wanted = pb.GetUsageRequest(
        start_day=gone.isoformat(),
        end_day=now().date().isoformat(),
        source=source,  # type: ignore[arg-type]  # a number of the enum
    )
    if not source:
        wanted.filter.labels["unheard-of"] = "x"
    answer = await stub.GetUsage(wanted)
    from_rollups = await stub.GetUsage(
        pb.GetUsageRequest(start_day=wanted.start_day, end_day=wanted.end_day)
    )

    assert answer.source == usage_pb2.USAGE_SOURCE_LOG
    assert list(answer.dropped_days) == [gone.isoformat()]
    assert not from_rollups.dropped_days
