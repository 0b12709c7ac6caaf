"""Limits that make no sense, too many of them, and sums that would leave 64 bits."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.database import Connection
from headgate.api.admission.v1 import admission_pb2 as pb
from headgate.api.common.v1 import limit_pb2
from services.admission.domain.calls import Held, Settle
from services.admission.domain.limits import AMOUNT_MAX
from services.admission.engine import Engine
from services.admission.limit_sets import LIMIT_COUNT_MAX
from tests.integration.admission.asking import kinds, put, reserve
from tests.integration.admission.replicas import assert_books, make_reserve
from tests.integration.admission.wire import Client, make_limit, make_reservation, violated

MINUTE = Duration(seconds=60)
HALF = Duration(seconds=60, nanos=500_000_000)
ROLLING = limit_pb2.RollingWindow
BUCKET = limit_pb2.BucketWindow
INTERVAL = limit_pb2.IntervalWindow
CALENDAR = limit_pb2.CalendarWindow
HOUR, DAY = limit_pb2.CALENDAR_PERIOD_HOUR, limit_pb2.CALENDAR_PERIOD_DAY
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "two windows": ({"total": limit_pb2.TotalWindow()}, "calendar"),
    "no window": ({"calendar": None}, "calendar"),
    "concurrency with a window": ({"metric": limit_pb2.METRIC_CONCURRENCY}, "calendar"),
    "week's day of a day": (
        {"calendar": CALENDAR(period=DAY, week_start_day=1)},
        "calendar.week_start_day",
    ),
    "month's day of an hour": (
        {"calendar": CALENDAR(period=HOUR, month_anchor_day=1)},
        "calendar.month_anchor_day",
    ),
    "rolling without end": (
        {"calendar": None, "rolling": ROLLING(duration=Duration(seconds=12 * 10**8))},
        "rolling.duration",
    ),
    "rolling of half a second": (
        {"calendar": None, "rolling": ROLLING(duration=HALF, slot_count=1)},
        "rolling.duration",
    ),
    "slots that do not fit": (
        {"calendar": None, "rolling": ROLLING(duration=MINUTE, slot_count=59)},
        "rolling.slot_count",
    ),
    "negative slots": (
        {"calendar": None, "rolling": ROLLING(duration=MINUTE, slot_count=-1)},
        "rolling.slot_count",
    ),
    "bucket that never refills": (
        {"calendar": None, "bucket": BUCKET(refill_duration=MINUTE)},
        "bucket.refill_amount",
    ),
    "bucket that refills at once": (
        {"calendar": None, "bucket": BUCKET(refill_amount=1)},
        "bucket.refill_duration",
    ),
    "interval that ends first": (
        {
            "calendar": None,
            "interval": INTERVAL(start_time=Timestamp(seconds=9), end_time=Timestamp(seconds=9)),
        },
        "interval.end_time",
    ),
    "validity that ends first": (
        {"start_time": Timestamp(seconds=9), "end_time": Timestamp(seconds=8)},
        "end_time",
    ),
    "before 1970": ({"start_time": Timestamp(seconds=-1)}, "start_time"),
    "negative cap": ({"cap": -1}, "cap"),
    "huge cap": ({"cap": AMOUNT_MAX + 1}, "cap"),
    "mode of the future": ({"mode": 99}, "mode"),
    "unknown dimension": ({"scope": {"planet": "mars"}}, "scope"),
    "label without a key": ({"scope": {"label.": "x"}}, "scope"),
    "hostile label": ({"scope": {"label.a'; DROP TABLE counter; --": "x"}}, "scope"),
    "value with a line": ({"scope": {"user": "a\nb"}}, "scope[user]"),
    "endless value": ({"scope": {"user": "a" * 161}}, "scope[user]"),
    "seven dimensions": (
        {"scope": {f"label.{letter}": "*" for letter in "abcdefg"}},
        "scope.length",
    ),
    "share above all": (
        {"shares": limit_pb2.PriorityShares(default_percent=101)},
        "shares.default_percent",
    ),
    "lower priority has more": (
        {"shares": limit_pb2.PriorityShares(default_percent=10, sheddable_percent=20)},
        "shares.sheddable_percent",
    ),
    "alerts that fall": ({"alert_percents": [80, 50]}, "alert_percents"),
    "alert at nothing": ({"alert_percents": [0]}, "alert_percents[0]"),
    "alerts of a bucket": (
        {
            "calendar": None,
            "bucket": BUCKET(refill_amount=1, refill_duration=MINUTE),
            "alert_percents": [50],
        },
        "alert_percents",
    ),
}


async def test_a_limit_that_makes_no_sense_is_named_and_changes_nothing(
    call: Client, admin: Connection
) -> None:
    for name, (fields, field) in WRONG.items():
        request = pb.PutLimitRequest(limit=make_limit(**fields), audit_id="a")
        assert await violated(call, "PutLimit", request) == {f"limit.{field}"}, name
    assert await admin.fetchval("SELECT version FROM policy_version") == 1
    assert await admin.fetchval("SELECT count(*) FROM limit_rule") == 6


async def test_wrong_fences_questions_and_trials_are_named(call: Client) -> None:
    fence = pb.SetFenceRequest(fence_id="f", sequence=1, actor="a", scope={"org": "*"})
    assert await violated(call, "SetFence", fence) == {"scope[org]"}
    fence = pb.SetFenceRequest(fence_id="f", sequence=1, actor="a", scope={"planet": "mars"})
    assert await violated(call, "SetFence", fence) == {"scope"}
    assert await violated(call, "ListViolations", pb.ListViolationsRequest(limit_id="X y")) == {
        "limit_id"
    }
    after = pb.CrossingCursor(transaction_id=-1)
    assert await violated(call, "ListCrossings", pb.ListCrossingsRequest(after=after)) == {
        "after.transaction_id"
    }
    answer = await call(
        "Reserve",
        pb.ReserveRequest(
            reservations=[
                make_reservation(dimensions={"caller": "user:ann"}),
                make_reservation(dimensions={"user": "a b"}),
                make_reservation(priority=9),
                make_reservation(adaptive_percent=-1),
            ]
        ),
    )
    named = [[each.field for each in result.error.violations] for result in answer.results]
    assert named == [
        ["reservations[0].dimensions"],
        ["reservations[1].dimensions[user]"],
        ["reservations[2].priority"],
        ["reservations[3].adaptive_percent"],
    ]


async def test_sums_that_would_leave_64_bits_are_refused_and_not_wrapped(
    engine: Engine, admin: Connection
) -> None:
    calls = [make_reserve(1) for _ in range(10)]
    for call in calls:
        assert isinstance(await engine.reservations.submit(call), Held)
    reports = [Settle(call.key, 1, AMOUNT_MAX) for call in calls]
    outcomes = await engine.reservations.submit_all(reports)
    refused = [each for each in outcomes if isinstance(each, Exception)]
    # Nine of 10^18 fit into 64 bits.
    assert len(refused) == 1
    assert (
        await admin.fetchval("SELECT max(settled) FROM counter WHERE metric = 2") == 9 * AMOUNT_MAX
    )
    await assert_books(engine)


@pytest.mark.parametrize("count", [10_000])
async def test_ten_thousand_limits_of_one_org_decide_exactly(
    call: Client, admin: Connection, count: int
) -> None:
    await fill(admin, count)
    answer = await reserve(
        call,
        *(make_reservation(dimensions={"user": f"u{number}"}) for number in (7, 7, 9_999)),
    )
    # Each user's own cap has room for one call of 40.
    assert kinds(answer) == ["hold", "denial", "hold"]
    assert answer.results[1].denial.violations[0].limit_id == "many-7"


async def test_more_limits_than_can_be_kept_are_refused(call: Client, admin: Connection) -> None:
    await fill(admin, LIMIT_COUNT_MAX)
    with pytest.raises(grpc.aio.AioRpcError, match="as many limits as can be kept") as refusal:
        await put(call, limit_id="one-more", cap=1)
    assert refusal.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    # A limit that is there may still be changed.
    await put(call, limit_id="many-7", scope={"org": "acme", "user": "u7"}, cap=1)


async def fill(admin: Connection, count: int) -> None:
    await admin.execute(
        "INSERT INTO limit_rule (limit_id, scope, metric, period, time_zone, cap, owner)"
        " SELECT 'many-' || n, jsonb_build_object('org', 'acme', 'user', 'u' || n), 2, 1, 'UTC',"
        " 60, '' FROM generate_series(1, $1::integer) AS n",
        count,
    )
    await admin.execute(
        "UPDATE policy_version SET version = version + 1, counted_version = version + 1,"
        " limit_count = (SELECT count(*) FROM limit_rule)"
    )
