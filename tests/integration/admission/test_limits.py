"""Limits of every kind over the wire, on the real database."""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.database import Connection
from headgate.api.admission.v1 import admission_pb2 as pb
from headgate.api.common.v1 import denial_pb2, limit_pb2
from tests.integration.admission.asking import kinds, put, reserve
from tests.integration.admission.wire import (
    Client,
    make_candidate,
    make_reservation,
)

SECOND = Duration(seconds=1)
DAY = Duration(seconds=86_400)
WINDOWS: dict[str, dict[str, Any]] = {
    "hour": {"calendar": limit_pb2.CalendarWindow(period=limit_pb2.CALENDAR_PERIOD_HOUR)},
    "week": {
        "calendar": limit_pb2.CalendarWindow(
            period=limit_pb2.CALENDAR_PERIOD_WEEK, week_start_day=7
        )
    },
    "month": {
        "calendar": limit_pb2.CalendarWindow(
            period=limit_pb2.CALENDAR_PERIOD_MONTH,
            month_anchor_day=31,
            time_zone="Asia/Tokyo",
        )
    },
    "rolling": {"rolling": limit_pb2.RollingWindow(duration=DAY, slot_count=24)},
    "bucket": {"bucket": limit_pb2.BucketWindow(refill_amount=1, refill_duration=DAY)},
    "total": {"total": limit_pb2.TotalWindow()},
    "interval": {
        "interval": limit_pb2.IntervalWindow(
            start_time=Timestamp(seconds=1_600_000_000), end_time=Timestamp(seconds=4_000_000_000)
        )
    },
}


@pytest.mark.parametrize("window", WINDOWS)
async def test_every_window_is_stored_binds_exactly_and_is_listed(
    call: Client, window: str
) -> None:
    fields = {"limit_id": "x", "cap": 100, "calendar": None, **WINDOWS[window]}
    stored = await put(call, **fields)
    ((name, message),) = WINDOWS[window].items()
    expected = type(message).FromString(message.SerializeToString())
    if name == "calendar" and not expected.time_zone:
        expected.time_zone = "UTC"
    assert getattr(stored.limit, name) == expected
    answer = await reserve(call, *(make_reservation() for _ in range(4)))
    # 40 each: two fit.
    assert kinds(answer) == ["hold", "hold", "denial", "denial"]
    (violation,) = answer.results[2].denial.violations
    assert (violation.limit_id, violation.requested, violation.excess) == ("x", 40, 20)
    assert answer.results[0].hold.limits_version == stored.limits_version
    assert answer.results[2].denial.limits_version == stored.limits_version
    counters = (await call("ListCounters", pb.ListCountersRequest(org="acme"))).counters
    (mine,) = [each for each in counters if each.limit_id == "x"]
    assert mine.settled + mine.held == 80
    assert mine.cap == 100
    listed = await call("ListLimits", pb.ListLimitsRequest(page_size=1000))
    assert stored.limit in listed.limits


async def test_a_rolling_window_has_room_again_when_its_delay_says(call: Client) -> None:
    rolling = limit_pb2.RollingWindow(duration=SECOND, slot_count=4)
    await put(call, limit_id="x", cap=40, calendar=None, rolling=rolling)
    first, second = (await reserve(call, make_reservation(), make_reservation())).results
    assert second.denial.retry_kind == denial_pb2.RETRY_KIND_AT_LATEST
    delay = second.denial.retry_delay.ToTimedelta()
    assert dt.timedelta(seconds=1) < delay <= dt.timedelta(seconds=1.25)
    await asyncio.sleep(delay.total_seconds() + 0.01)
    assert kinds(await reserve(call)) == ["hold"]
    settled = pb.Settlement(org="acme", call_id=str(uuid.uuid4()), revision=1, total_nanos=1)
    await call("Settle", pb.SettleRequest(settlements=[settled]))
    assert first.hold.held_nanos == 40


async def test_a_bucket_refills_at_its_rate(call: Client, admin: Connection) -> None:
    bucket = limit_pb2.BucketWindow(refill_amount=200, refill_duration=SECOND)
    await put(call, limit_id="x", cap=40, calendar=None, bucket=bucket)
    _, denied = (await reserve(call, make_reservation(), make_reservation())).results
    assert denied.denial.retry_kind == denial_pb2.RETRY_KIND_AT
    await asyncio.sleep(denied.denial.retry_delay.ToTimedelta().total_seconds() + 0.001)
    assert kinds(await reserve(call)) == ["hold"]
    row = await admin.fetchrow("SELECT held, settled, arrival FROM counter WHERE window_kind = 3")
    assert row is not None
    assert (row["held"], row["settled"]) == (0, 0)
    assert row["arrival"] > 0


async def test_concurrency_does_not_count_calls_whose_time_has_passed(
    call: Client, admin: Connection
) -> None:
    await put(call, limit_id="x", cap=2, calendar=None, metric=limit_pb2.METRIC_CONCURRENCY)
    short = [make_reservation(hold_duration=SECOND) for _ in range(2)]
    assert kinds(await reserve(call, *short)) == ["hold", "hold"]
    assert kinds(await reserve(call)) == ["denial"]
    # As if a second had passed, and no sweeper had come.
    await admin.execute("UPDATE reservation SET expire_time = clock_timestamp()")
    answer = await reserve(call, *(make_reservation() for _ in range(3)))
    assert kinds(answer) == ["hold", "hold", "denial"]
    assert await admin.fetchval("SELECT count(*) FROM ended_reservation WHERE state = 4") == 2


async def test_tokens_are_counted(call: Client) -> None:
    await put(call, limit_id="x", cap=100, metric=limit_pb2.METRIC_TOKENS)
    sixty = make_reservation(candidates=[make_candidate(token_count=60)])
    assert kinds(await reserve(call, sixty)) == ["hold"]
    again = make_reservation(candidates=[make_candidate(token_count=60)])
    assert kinds(await reserve(call, again)) == ["denial"]
    settlement = pb.Settlement(
        org="acme", call_id=sixty.call_id, revision=1, total_nanos=1, token_count=10
    )
    await call("Settle", pb.SettleRequest(settlements=[settlement]))
    assert kinds(await reserve(call, again)) == ["hold"]


async def test_limits_bind_by_every_dimension(call: Client) -> None:
    scope = {"org": "*", "user": "*", "model": "gpt-4o", "label.ticket": "T-1"}
    await put(call, limit_id="x", cap=40, scope=scope)
    ann = {"user": "ann", "label.ticket": "T-1"}

    def asked(**dimensions: str) -> pb.ReservationRequest:
        return make_reservation(dimensions=dimensions)

    answer = await reserve(
        call,
        asked(**ann),
        asked(**ann),
        asked(**{**ann, "user": "bob"}),
        asked(**{**ann, "label.ticket": "T-2"}),
        asked(user="ann"),
    )
    assert kinds(answer) == ["hold", "denial", "hold", "hold", "hold"]
    assert dict(answer.results[1].denial.violations[0].scope) == {
        "org": "acme", "user": "ann", "model": "gpt-4o", "label.ticket": "T-1",
    }  # fmt: skip


async def test_a_fence_with_a_scope_stops_its_own_and_lifts_itself(
    call: Client, admin: Connection
) -> None:
    fence = pb.SetFenceRequest(
        fence_id="f", sequence=1, active=True, actor="a", scope={"user": "ann"}, message="stop"
    )
    await call("SetFence", fence)
    ann, bob = (make_reservation(dimensions={"user": name}) for name in ("ann", "bob"))
    assert kinds(await reserve(call, ann, bob)) == ["denial", "hold"]
    (listed,) = (await call("ListFences", pb.ListFencesRequest())).fences
    assert (dict(listed.scope), listed.message) == ({"user": "ann"}, "stop")
    now = await admin.fetchval("SELECT clock_timestamp()")
    fence.sequence, fence.expire_time.seconds = 2, int(now.timestamp())
    await call("SetFence", fence)
    assert kinds(await reserve(call, ann)) == ["hold"]


async def test_a_hold_is_extended_until_it_has_expired(call: Client, admin: Connection) -> None:
    reservation = make_reservation(hold_duration=Duration(seconds=5))
    (first,) = (await reserve(call, reservation)).results

    async def extend(call_id: str, seconds: int) -> pb.ExtensionResult:
        member = pb.Extension(org="acme", call_id=call_id, hold_duration=Duration(seconds=seconds))
        (result,) = (await call("Extend", pb.ExtendRequest(extensions=[member]))).results
        assert isinstance(result, pb.ExtensionResult)
        return result

    longer = await extend(reservation.call_id, 500)
    assert longer.expire_time.seconds > first.hold.expire_time.seconds + 400
    assert (await extend(reservation.call_id, 5)).expire_time == longer.expire_time
    unknown = await extend(str(uuid.uuid4()), 5)
    assert unknown.error.reason == "CALL_NOT_FOUND"
    await admin.execute("UPDATE reservation SET expire_time = clock_timestamp()")
    late = await extend(reservation.call_id, 500)
    assert late.ended.state == pb.RESERVATION_STATE_EXPIRED
    assert late.ended.settled_nanos == 40


async def test_what_is_written_off_is_logged_and_charged_no_more(
    call: Client, admin: Connection
) -> None:
    reservation = make_reservation()
    await reserve(call, reservation)
    await admin.execute("UPDATE reservation SET expire_time = clock_timestamp()")
    key = pb.CallKey(org="acme", call_id=reservation.call_id)
    order = pb.WriteOffRequest(calls=[key], reason="provider confirmed", audit_id="w")
    (result,) = (await call("WriteOff", order)).results
    assert result.ended.state == pb.RESERVATION_STATE_WRITTEN_OFF
    assert await admin.fetchval("SELECT sum(settled) FROM counter") == 0
    row = await admin.fetchrow(
        "SELECT audit_id, before ->> 'settled_nanos' AS before, after ->> 'reason' AS reason"
        " FROM change_log WHERE target LIKE 'call/acme/%'"
    )
    assert row is not None
    assert tuple(row) == ("w", "40", "provider confirmed")
    with pytest.raises(grpc.aio.AioRpcError, match="INVALID_ARGUMENT"):
        await call("WriteOff", pb.WriteOffRequest(calls=[key]))


async def test_two_limits_of_one_pattern_are_refused_unless_they_take_turns(
    call: Client,
) -> None:
    def until(seconds: int) -> Timestamp:
        return Timestamp(seconds=seconds)

    await put(call, limit_id="lasting")
    await put(call, limit_id="first", end_time=until(2_000))
    await put(call, limit_id="second", start_time=until(2_000), end_time=until(3_000))
    for fields in ({}, {"start_time": until(1_999), "end_time": until(2_500)}):
        with pytest.raises(grpc.aio.AioRpcError, match="another limit has the same"):
            await put(call, limit_id="another", **fields)
    # A limit may replace itself.
    await put(call, limit_id="first", end_time=until(1_900))


async def test_a_set_that_lost_limits_replaces_none(call: Client, admin: Connection) -> None:
    await put(call, limit_id="x", cap=40)
    assert kinds(await reserve(call)) == ["hold"]
    await admin.execute("DELETE FROM limit_rule")
    await put(call, limit_id="y", scope={}, cap=10**9)
    # The last whole set holds: its cap is used up.
    assert kinds(await reserve(call)) == ["denial"]
