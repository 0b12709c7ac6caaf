"""Questions about usage: periods, values of dimensions, filters and pages."""

from __future__ import annotations

import datetime as dt
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from headgate.api.accounting.v1 import accounting_pb2 as pb
from headgate.api.common.v1 import call_pb2, usage_pb2
from services.accounting import store
from tests.integration.accounting.refusals import refusal
from tests.integration.accounting.replicas import Stub
from tests.integration.accounting.samples import SAMPLE_NANOS, message, now

LOG, ROLLUP = usage_pb2.USAGE_SOURCE_LOG, usage_pb2.USAGE_SOURCE_ROLLUP
HOURLY = usage_pb2.USAGE_SOURCE_HOURLY_ROLLUP
HOUR, DAY, MONTH = (
    usage_pb2.USAGE_DIMENSION_HOUR,
    usage_pb2.USAGE_DIMENSION_DAY,
    usage_pb2.USAGE_DIMENSION_MONTH,
)
ORG, USER, LABEL = (
    usage_pb2.USAGE_DIMENSION_ORG,
    usage_pb2.USAGE_DIMENSION_USER,
    usage_pb2.USAGE_DIMENSION_LABEL,
)
NOON = now().replace(hour=12, minute=0, second=0, microsecond=0) - dt.timedelta(days=2)


def instant(time: dt.datetime) -> Timestamp:
    found = Timestamp()
    found.FromDatetime(time)
    return found


def ask(*group_by: int, start: dt.datetime, end: dt.datetime, **changes: Any) -> Any:
    filters = {name: changes.pop(name) for name in list(changes) if name in FILTERS}
    return pb.GetUsageRequest(
        group_by=group_by,  # type: ignore[arg-type]  # numbers of the enum
        filter=usage_pb2.UsageFilter(start_time=instant(start), end_time=instant(end), **filters),
        **changes,
    )


FILTERS = {field.name for field in usage_pb2.UsageFilter.DESCRIPTOR.fields}
WEEK = {"start": NOON - dt.timedelta(days=3), "end": NOON + dt.timedelta(days=3)}


async def book(stub: Stub, *reports: dict[str, Any]) -> None:
    messages = []
    for each in reports:
        fields: dict[str, Any] = {"labels": {}, "api_key_id": "", "time": NOON} | each
        admit_time = instant(fields.pop("time"))
        messages.append(message(admit_time=admit_time, **fields))
    answer = await stub.Record(pb.RecordRequest(reports=messages))
    assert all(each.booking.first for each in answer.results)


async def test_hours_are_answered_by_the_hourly_rollups_and_parts_of_them_by_the_log(
    stub: Stub,
) -> None:
    times = [NOON + dt.timedelta(minutes=minutes) for minutes in (0, 29, 30, 59, 60)]
    await book(stub, *({"time": time} for time in times))
    half_past = NOON + dt.timedelta(minutes=30)

    whole = await stub.GetUsage(ask(HOUR, start=NOON, end=NOON + dt.timedelta(hours=2)))
    half = await stub.GetUsage(ask(HOUR, start=half_past, end=NOON + dt.timedelta(hours=2)))

    assert (whole.source, half.source) == (HOURLY, LOG)
    assert [row.call_count for row in whole.rows] == [4, 1]
    assert [row.call_count for row in half.rows] == [2, 1]
    assert [row.hour for row in half.rows] == [f"{NOON:%Y-%m-%d}T12", f"{NOON:%Y-%m-%d}T13"]
    assert half.total.cost_nanos == 3 * SAMPLE_NANOS


async def test_a_month_is_the_sum_of_its_days(stub: Stub) -> None:
    earlier = NOON - dt.timedelta(days=28)
    await book(stub, {"time": earlier}, {"time": NOON}, {})
    answer = await stub.GetUsage(
        pb.GetUsageRequest(
            start_day=earlier.date().isoformat(),
            end_day=NOON.date().isoformat(),
            group_by=[MONTH],
        )
    )

    assert answer.source == ROLLUP
    assert sum(row.call_count for row in answer.rows) == answer.total.call_count == 3
    assert {row.month for row in answer.rows} == {f"{earlier:%Y-%m}", f"{NOON:%Y-%m}"}


@pytest.mark.parametrize("source", [LOG, ROLLUP])
async def test_values_and_the_calls_without_one_add_up_to_all_calls(
    stub: Stub, source: usage_pb2.UsageSource.ValueType
) -> None:
    await book(stub, {"user": "ann"}, {"user": "ann"}, {"user": "bob", "org": "globex"}, {}, {})
    request = pb.GetUsageRequest(
        start_day=NOON.date().isoformat(),
        end_day=NOON.date().isoformat(),
        group_by=[ORG, USER],
        source=source,
    )

    answer = await stub.GetUsage(request)

    assert [(row.org, row.user, row.call_count, row.cost_nanos) for row in answer.rows] == [
        ("acme", "", 2, 2 * SAMPLE_NANOS),
        ("acme", "ann", 2, 2 * SAMPLE_NANOS),
        ("globex", "bob", 1, SAMPLE_NANOS),
    ]
    assert answer.total.call_count == 5
    assert answer.total.meters.input_token_count == 500


async def test_values_beyond_the_bound_are_one_marked_row(
    stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "VALUE_COUNT_MAX", 1)
    await book(stub, {"user": "ann"}, {"user": "bob"}, {"user": "cid"}, {})
    request = pb.GetUsageRequest(
        start_day=NOON.date().isoformat(), end_day=NOON.date().isoformat(), group_by=[USER]
    )

    rows = (await stub.GetUsage(request)).rows

    assert [(row.user, row.beyond_bound, row.call_count) for row in rows] == [
        ("", False, 1),
        ("", True, 2),
        ("ann", False, 1),
    ]


async def test_a_tickets_agents_and_phases_are_one_question_each(stub: Stub) -> None:
    await book(
        stub,
        {"labels": {"ticket": "T-1", "phase": "plan"}},
        {"labels": {"ticket": "T-1", "phase": "build"}},
        {"labels": {"ticket": "T-2", "phase": "build"}},
        {"labels": {"other": "x"}},
    )
    days: dict[str, Any] = {
        "start_day": NOON.date().isoformat(),
        "end_day": NOON.date().isoformat(),
    }

    ticket = await stub.GetUsage(
        pb.GetUsageRequest(filter=usage_pb2.UsageFilter(labels={"ticket": "T-1"}), **days)
    )
    phases = await stub.GetUsage(
        pb.GetUsageRequest(
            group_by=[LABEL],
            filter=usage_pb2.UsageFilter(label_key="phase", labels={"ticket": "T-1"}),
            **days,
        )
    )
    undeclared = await stub.GetUsage(
        pb.GetUsageRequest(
            group_by=[LABEL], filter=usage_pb2.UsageFilter(label_key="other"), **days
        )
    )

    assert ticket.source == ROLLUP
    assert (ticket.total.call_count, ticket.total.cost_nanos) == (2, 2 * SAMPLE_NANOS)
    assert phases.source == undeclared.source == LOG
    assert [(row.label_value, row.call_count) for row in phases.rows] == [
        ("build", 1),
        ("plan", 1),
    ]
    assert [(row.label_value, row.call_count) for row in undeclared.rows] == [("", 3), ("x", 1)]


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        ({"operation": "translate"}, 1),
        ({"provider": "openai"}, 4),
        ({"model": "gpt-4o-mini"}, 3),
        ({"user": "ann"}, 1),
        ({"team": "red"}, 1),
        ({"feature": "chat"}, 1),
        ({"api_key_id": "k_9"}, 1),
        ({"labels": {"ticket": "T-1", "x": "y"}}, 1),
        ({"user": "ann", "team": "red"}, 1),
        ({"user": "nobody"}, 0),
    ],
)
async def test_a_filter_leaves_out_what_it_does_not_name(
    stub: Stub, changes: dict[str, Any], count: int
) -> None:
    other = call_pb2.Candidate(provider="openai", model="other")
    await book(
        stub,
        {"operation": "translate"},
        {"candidate": other},
        {"user": "ann", "team": "red", "feature": "chat", "api_key_id": "k_9"},
        {"labels": {"ticket": "T-1", "x": "y"}},
    )

    assert (await stub.GetUsage(ask(**WEEK, **changes))).total.call_count == count


@pytest.mark.parametrize("source", [LOG, ROLLUP])
async def test_pages_give_each_row_once_and_the_total_of_all(
    stub: Stub, source: usage_pb2.UsageSource.ValueType
) -> None:
    await book(stub, *({"org": f"o-{number}", "user": f"u{number}"} for number in range(7)))
    fields: dict[str, Any] = {
        "start_day": NOON.date().isoformat(),
        "end_day": NOON.date().isoformat(),
        "group_by": [DAY, ORG, USER],
        "source": source,
        "page_size": 3,
    }
    token, found, totals = "", [], []
    while True:
        page = await stub.GetUsage(pb.GetUsageRequest(page_token=token, **fields))
        found += [row.org for row in page.rows]
        totals.append(page.total.call_count)
        token = page.next_page_token
        if not token:
            break

    assert found == [f"o-{number}" for number in range(7)]
    assert totals == [7, 0, 0]


BAD = [
    ({"group_by": [HOUR, DAY]}, "group_by"),
    ({"group_by": [USER, usage_pb2.USAGE_DIMENSION_TEAM]}, "group_by"),
    ({"group_by": [LABEL]}, "filter.label_key"),
    ({"filter": {"label_key": "ticket"}}, "filter.label_key"),
    ({"filter": {"start_time": instant(NOON)}}, "start_day"),
    ({"start_day": "", "end_day": "", "filter": {"start_time": instant(NOON)}}, "filter.end_time"),
    ({"filter": {"user": "x" * 129}}, "filter.user"),
    ({"filter": {"labels": {"": "x"}}}, "filter.labels"),
    ({"filter": {"labels": {f"k{n}": "v" for n in range(9)}}}, "filter.labels"),
    ({"source": HOURLY}, "source"),
    ({"source": ROLLUP, "filter": {"user": "a", "team": "b"}}, "source"),
    ({"page_size": -1}, "page_size"),
    ({"page_token": "nonsense"}, "page_token"),
]


@pytest.mark.parametrize(("changes", "field"), BAD)
async def test_a_wrong_question_names_its_field(
    stub: Stub, changes: dict[str, Any], field: str
) -> None:
    fields: dict[str, Any] = {"start_day": "2026-01-01", "end_day": "2026-01-02"}
    fields |= changes
    fields["filter"] = usage_pb2.UsageFilter(**fields.get("filter", {}))

    error = await refusal(stub.GetUsage(pb.GetUsageRequest(**fields)))

    assert error.code is grpc.StatusCode.INVALID_ARGUMENT
    assert error.violations[0].field == field


async def test_a_token_of_another_question_is_refused(stub: Stub) -> None:
    await book(stub, {"org": "a"}, {"org": "b"})
    first = await stub.GetUsage(ask(ORG, **WEEK, page_size=1))
    other = ask(ORG, **WEEK, page_size=1, page_token=first.next_page_token, operation="x")

    assert first.next_page_token
    assert [each.field for each in (await refusal(stub.GetUsage(other))).violations] == [
        "page_token"
    ]
