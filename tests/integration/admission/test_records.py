"""What is told of limits: explanations, their state as it changes, violations, crossings."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from headgate.api.admission.v1 import admission_pb2 as pb
from headgate.api.admission.v1 import admission_pb2_grpc
from headgate.api.common.v1 import explanation_pb2, limit_pb2
from tests.integration.admission.asking import put, reserve
from tests.integration.admission.wire import (
    AUTHORIZED,
    Client,
    make_reservation,
)


async def test_explanations_say_which_limits_apply_and_why(call: Client) -> None:
    await put(call, limit_id="mine", cap=30)
    await put(call, limit_id="off", scope={"org": "acme"}, metric=limit_pb2.METRIC_TOKENS,
              mode=limit_pb2.LIMIT_MODE_OFF)  # fmt: skip
    past = Timestamp(seconds=1_600_000_000)
    await put(call, limit_id="past", scope={}, end_time=past, calendar=None,
              total=limit_pb2.TotalWindow())  # fmt: skip
    question = make_reservation(call_id="", fingerprint=b"")
    bad = make_reservation(org="")
    answer = await call("ExplainLimits", pb.ExplainLimitsRequest(reservations=[question, bad]))
    good, wrong = answer.explanations
    assert [each.field for each in wrong.error.violations] == ["reservations[1].org"]
    (candidate,) = good.candidates
    standings = {each.limit.limit_id: each.standing for each in candidate.limits}
    assert standings["mine"] == explanation_pb2.LIMIT_STANDING_APPLIES
    assert standings["default-org-cost-day"] == explanation_pb2.LIMIT_STANDING_OVERRIDDEN
    assert standings["off"] == explanation_pb2.LIMIT_STANDING_OFF
    assert standings["past"] == explanation_pb2.LIMIT_STANDING_NOT_VALID
    overridden = {each.limit.limit_id: each.overridden_by for each in candidate.limits}
    assert overridden["default-org-cost-day"] == "mine"
    assert not candidate.fits
    assert [each.limit_id for each in candidate.violations] == ["mine"]
    assert candidate.held_nanos == 40


async def test_watchers_hear_when_a_limit_closes_and_opens(address: str, call: Client) -> None:
    await put(call, limit_id="x", cap=40)
    async with grpc.aio.insecure_channel(address) as channel:
        stub = admission_pb2_grpc.AdmissionServiceStub(channel)
        question = make_reservation(call_id="", fingerprint=b"")
        stream: Any = stub.WatchLimits(
            pb.WatchLimitsRequest(reservation=question), metadata=AUTHORIZED, timeout=60
        )
        assert (await stream.read()).open
        reservation = make_reservation()
        await reserve(call, reservation)
        closed = await stream.read()
        assert not closed.open
        assert closed.HasField("retry_delay")
        key = pb.CallKey(org="acme", call_id=reservation.call_id)
        await call("Release", pb.ReleaseRequest(calls=[key]))
        assert (await stream.read()).open
        stream.cancel()


async def test_violations_are_counted_and_sampled(call: Client) -> None:
    await put(call, limit_id="x", cap=0)
    await put(call, limit_id="y", cap=0, metric=limit_pb2.METRIC_CALLS,
              mode=limit_pb2.LIMIT_MODE_SHADOW)  # fmt: skip
    await reserve(call, *(make_reservation() for _ in range(130)))
    await put(call, limit_id="x", cap=1000)
    await reserve(call)

    async def found() -> pb.ListViolationsResponse:
        response = await call("ListViolations", pb.ListViolationsRequest(limit_id="x"))
        assert isinstance(response, pb.ListViolationsResponse)
        return response

    answer = await found()
    while not answer.violations:
        await asyncio.sleep(0.05)
        answer = await found()
    assert sum(each.call_count for each in answer.violations) == 130
    assert sum(each.requested_nanos for each in answer.violations) == 130 * 40
    assert len(answer.samples) == 100
    assert answer.samples[0].violation.limit_id == "x"
    shadow = await call("ListViolations", pb.ListViolationsRequest(org="acme", page_size=1))
    assert shadow.next_page_token
    request = pb.ListViolationsRequest(org="acme", page_token=shadow.next_page_token)
    rest = await call("ListViolations", request)
    told = {(each.limit_id, each.shadow) for each in (*shadow.violations, *rest.violations)}
    assert told == {("x", False), ("y", True)}


async def test_crossings_are_fed_once_each(call: Client) -> None:
    await put(call, limit_id="x", cap=100, owner="finance")
    calls = [make_reservation() for _ in range(2)]
    await reserve(call, *calls)
    settlements = [
        pb.Settlement(org="acme", call_id=each.call_id, revision=1, total_nanos=40)
        for each in calls
    ]
    for settlement in (*settlements, *settlements):
        await call("Settle", pb.SettleRequest(settlements=[settlement]))
    # Rows wait for every older transaction of the server, also of other tests' databases.
    feed = await call("ListCrossings", pb.ListCrossingsRequest())
    while len(feed.crossings) < 2:
        await asyncio.sleep(0.05)
        feed = await call("ListCrossings", pb.ListCrossingsRequest())
    assert [(each.limit_id, each.percent, each.settled) for each in feed.crossings] == [
        ("x", 50, 80), ("x", 80, 80),
    ]  # fmt: skip
    assert {each.owner for each in feed.crossings} == {"finance"}
    rest = await call("ListCrossings", pb.ListCrossingsRequest(after=feed.next))
    assert not rest.crossings
