"""Sums of usage: by any dimensions, from the log or from the rollups, and the same from both."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import Any

import grpc
import pytest

from chassis.database import Connection
from headgate.api.accounting.v1 import accounting_pb2 as pb
from headgate.api.common.v1 import call_pb2, usage_pb2
from services.accounting import wire_usage
from tests.integration.accounting.refusals import refusal
from tests.integration.accounting.replicas import Stub, wait_for_older
from tests.integration.accounting.samples import SAMPLE_NANOS, message, now

LOG, ROLLUP = usage_pb2.USAGE_SOURCE_LOG, usage_pb2.USAGE_SOURCE_ROLLUP
DAILY = (
    usage_pb2.USAGE_DIMENSION_DAY,
    usage_pb2.USAGE_DIMENSION_ORG,
    usage_pb2.USAGE_DIMENSION_OPERATION,
    usage_pb2.USAGE_DIMENSION_PROVIDER,
    usage_pb2.USAGE_DIMENSION_MODEL,
)


def ask(**changes: Any) -> pb.GetUsageRequest:
    today = now().date()
    fields = {
        "start_day": (today - dt.timedelta(days=3)).isoformat(),
        "end_day": (today + dt.timedelta(days=1)).isoformat(),
    }
    return pb.GetUsageRequest(**(fields | changes))


async def book_variety(stub: Stub) -> None:
    reports = []
    for number, (org, operation, model, days) in enumerate(
        itertools.product(("acme", "globex"), ("a", "b"), ("m", "gpt-4o-mini"), (0, 1, 2))
    ):
        report = message(
            org=org,
            operation=operation,
            candidate=call_pb2.Candidate(provider="openai", model=model),
            outcome=1 + number % 5,
            meters=None if number % 3 == 0 else call_pb2.UsageMeters(input_token_count=number),
        )
        report.admit_time.FromDatetime(now() - dt.timedelta(days=days))
        reports.append(report)
    response = await stub.Record(pb.RecordRequest(reports=reports))
    assert all(each.booking.first for each in response.results)


async def test_log_and_rollups_give_the_same_sums_by_any_dimensions(stub: Stub) -> None:
    await book_variety(stub)

    for count in range(len(DAILY) + 1):
        for group_by in itertools.combinations(DAILY, count):
            for org in ("", "acme"):
                log = await stub.GetUsage(ask(group_by=group_by, org=org, source=LOG))
                rollup = await stub.GetUsage(ask(group_by=group_by, org=org, source=ROLLUP))

                assert log.rows == rollup.rows, (group_by, org)
                assert (log.source, rollup.source) == (LOG, ROLLUP)
                assert sum(row.call_count for row in log.rows) == (12 if org else 24)


async def test_rows_are_sorted_and_carry_only_the_grouped_dimensions(stub: Stub) -> None:
    await book_variety(stub)
    response = await stub.GetUsage(
        ask(group_by=[usage_pb2.USAGE_DIMENSION_ORG, usage_pb2.USAGE_DIMENSION_DAY])
    )

    keys = [(row.day, row.org) for row in response.rows]
    assert keys == sorted(keys)
    assert len(keys) == 6
    assert {(row.operation, row.provider, row.model) for row in response.rows} == {("", "", "")}
    assert response.source == ROLLUP


async def test_a_row_says_what_was_used_what_failed_and_what_nobody_reported(stub: Stub) -> None:
    await stub.Record(
        pb.RecordRequest(
            reports=[
                message(),
                message(outcome=call_pb2.CALL_OUTCOME_ABORTED, meters=None, held_nanos=5),
                message(outcome=call_pb2.CALL_OUTCOME_REJECTED, meters=None),
            ]
        )
    )
    (row,) = (await stub.GetUsage(ask())).rows

    assert row == usage_pb2.UsageRow(
        call_count=3,
        failed_count=2,
        unreported_count=1,
        cost_nanos=SAMPLE_NANOS + 5,
        unreported_cost_nanos=5,
        meters=call_pb2.UsageMeters(
            input_token_count=100,
            cache_read_token_count=0,
            cache_write_5m_token_count=0,
            cache_write_1h_token_count=0,
            output_token_count=10,
            reasoning_token_count=0,
        ),
        latency_count=1,
        latency_p50_ms=1_600,
        latency_p95_ms=1_600,
        latency_p99_ms=1_600,
        cache_hit_ratio=0.0,
        approved_ratio=0.0,
    )


@pytest.mark.parametrize("source", [LOG, ROLLUP])
@pytest.mark.parametrize("group_by", [[], [usage_pb2.USAGE_DIMENSION_ORG]])
async def test_days_without_usage_have_no_row(
    stub: Stub, source: usage_pb2.UsageSource.ValueType, group_by: list[Any]
) -> None:
    await book_variety(stub)
    old = ask(start_day="2020-01-01", end_day="2020-12-31", source=source, group_by=group_by)

    assert not [row for row in (await stub.GetUsage(old)).rows if row.call_count]


@pytest.mark.parametrize("source", [LOG, ROLLUP])
async def test_the_last_day_is_inclusive(
    stub: Stub, source: usage_pb2.UsageSource.ValueType
) -> None:
    yesterday = now().replace(hour=23, minute=59, second=59, microsecond=999_999) - dt.timedelta(
        days=1
    )
    report = message()
    report.admit_time.FromDatetime(yesterday)
    await stub.Record(pb.RecordRequest(reports=[report, message()]))
    day = yesterday.date().isoformat()

    (row,) = (await stub.GetUsage(ask(start_day=day, end_day=day, source=source))).rows

    assert row.call_count == 1


async def test_too_many_rows_are_refused_with_what_to_do(
    stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire_usage, "USAGE_ROW_COUNT_MAX", 2)
    await stub.Record(pb.RecordRequest(reports=[message(org=f"o{n}") for n in range(3)]))

    error = await refusal(stub.GetUsage(ask(group_by=[usage_pb2.USAGE_DIMENSION_ORG])))

    assert error.code is grpc.StatusCode.INVALID_ARGUMENT
    assert [each.field for each in error.violations] == ["group_by"]


async def test_a_sum_beyond_64_bits_is_refused_and_still_summed_by_less(
    stub: Stub, admin: Connection
) -> None:
    reports = [message(org=f"o{number}", meters=None, held_nanos=10**18) for number in range(10)]
    await stub.Record(pb.RecordRequest(reports=reports))

    error = await refusal(stub.GetUsage(ask()))
    by_org = await stub.GetUsage(ask(group_by=[usage_pb2.USAGE_DIMENSION_ORG]))

    assert [each.field for each in error.violations] == ["end_day"]
    assert [row.cost_nanos for row in by_org.rows] == [10**18] * 10


async def test_settlements_over_the_wire_go_on_where_a_page_ended(
    stub: Stub, admin: Connection
) -> None:
    reports = [message() for _ in range(3)]
    for report in reports:
        await stub.Record(pb.RecordRequest(reports=[report]))
    await wait_for_older(admin)

    first = await stub.ListSettlements(pb.ListSettlementsRequest(page_size=2))
    rest = await stub.ListSettlements(pb.ListSettlementsRequest(after=first.next))
    end = await stub.ListSettlements(pb.ListSettlementsRequest(after=rest.next))

    assert [len(page.settlements) for page in (first, rest, end)] == [2, 1, 0]
    assert not end.HasField("next")
    assert [*first.settlements, *rest.settlements] == [
        pb.BookedSettlement(
            org="acme",
            call_id=each.call_id,
            revision=1,
            total_nanos=SAMPLE_NANOS,
            token_count=110,
        )
        for each in reports
    ]
