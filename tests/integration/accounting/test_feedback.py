"""Feedback: one score of each call and metric, and what the sums make of it."""

from __future__ import annotations

import asyncio
import datetime as dt
import math
import uuid
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.database import Connection
from headgate.api.accounting.v1 import accounting_pb2 as pb
from headgate.api.common.v1 import call_pb2, usage_pb2
from services.accounting import feedback
from services.accounting.config import AccountingSettings
from services.accounting.jobs.drop_partitions import drop_partitions
from tests.integration.accounting.refusals import Case, refusal, refused_wrongly
from tests.integration.accounting.replicas import Replica, Stub
from tests.integration.accounting.samples import MODEL, PROVIDER, now, report

KEPT, UNCHANGED, REPLACED = (
    usage_pb2.FEEDBACK_EFFECT_KEPT,
    usage_pb2.FEEDBACK_EFFECT_UNCHANGED,
    usage_pb2.FEEDBACK_EFFECT_REPLACED,
)
DAY, MODEL_OF = usage_pb2.USAGE_DIMENSION_DAY, usage_pb2.USAGE_DIMENSION_MODEL


def rated(admit_time: dt.datetime | None = None, model: str = MODEL) -> pb.RatedCall:
    time = Timestamp()
    time.FromDatetime(admit_time or now())
    candidate = call_pb2.Candidate(provider=PROVIDER, model=model)
    return pb.RatedCall(operation="summarize", candidate=candidate, admit_time=time)


def score(value: float, **changes: Any) -> pb.RecordFeedbackRequest:
    fields: dict[str, Any] = {"org": "acme", "call_id": str(uuid.uuid4()), "metric": "helpful"}
    return pb.RecordFeedbackRequest(score=value, **(fields | changes))


async def scores(stub: Stub, *group_by: int, **changes: Any) -> pb.GetUsageResponse:
    today = now().date().isoformat()
    fields: dict[str, Any] = {"start_day": today, "end_day": today, "with_scores": True}
    return await stub.GetUsage(pb.GetUsageRequest(group_by=group_by, **(fields | changes)))  # type: ignore[arg-type]  # numbers of the enum


async def assert_sums_agree(admin: Connection) -> None:
    kept = (
        "SELECT org, day, operation, provider, model, metric, count(*), sum(score_micros)::bigint"
    )
    summed = "SELECT org, day, operation, provider, model, metric, score_count, score_micros"
    differing = await admin.fetch(
        f"({kept} FROM feedback GROUP BY 1, 2, 3, 4, 5, 6 EXCEPT {summed} FROM feedback_rollup)"
        f" UNION ALL ({summed} FROM feedback_rollup EXCEPT"
        f" {kept} FROM feedback GROUP BY 1, 2, 3, 4, 5, 6)"
    )
    assert differing == []


async def test_quality_is_told_by_what_the_sums_are_split_by(
    replica: Replica, stub: Stub, admin: Connection
) -> None:
    calls = [report(), report(), report(model="gpt-4o-mini-2"), report(org="globex")]
    await replica.ledger.record(calls)
    for call, value in zip(calls, (1.0, 0.5, 0.25, 0.0), strict=True):
        answer = await stub.RecordFeedback(score(value, org=call.org, call_id=str(call.call_id)))
        assert answer.effect == KEPT
    await stub.RecordFeedback(score(0.125, call_id=str(calls[0].call_id), metric="polite"))

    by_model = await scores(stub, DAY, MODEL_OF)
    of_acme = await scores(stub, org="acme")
    paged = await scores(stub, MODEL_OF, page_size=1)
    told = {
        row.model: {each.metric: (each.call_count, each.mean) for each in row.scores}
        for row in by_model.rows
    }

    assert told == {
        MODEL: {"helpful": (3, 0.5), "polite": (1, 0.125)},
        "gpt-4o-mini-2": {"helpful": (1, 0.25)},
    }
    assert [(each.metric, each.call_count) for each in of_acme.total.scores] == [
        ("helpful", 3),
        ("polite", 1),
    ]
    assert [each.mean for each in paged.total.scores] == [0.4375, 0.125]
    assert [each.call_count for each in paged.rows[0].scores] == [3, 1]
    assert not (await scores(stub, with_scores=False)).total.scores
    assert not (await scores(stub, usage_pb2.USAGE_DIMENSION_USER)).total.scores
    assert not (await scores(stub, usage_pb2.USAGE_DIMENSION_HOUR)).rows[0].scores
    await assert_sums_agree(admin)


async def test_the_last_word_on_a_metric_counts_and_a_repeat_is_nothing_new(
    stub: Stub, admin: Connection
) -> None:
    call_id = str(uuid.uuid4())
    words = [score(value, call_id=call_id, call=rated()) for value in (0.5, 0.5, 0.9, 0.9)]
    effects = [(await stub.RecordFeedback(each)).effect for each in words]
    row = await admin.fetchrow("SELECT score_count, score_micros FROM feedback_rollup")

    assert effects == [KEPT, UNCHANGED, REPLACED, UNCHANGED]
    assert row is not None
    assert tuple(row) == (1, 900_000)


async def test_many_at_once_leave_sums_that_agree(stub: Stub, admin: Connection) -> None:
    ids = [str(uuid.uuid4()) for _ in range(4)]
    words = [
        score(place / 64, call_id=ids[place % 4], call=rated(), metric=f"m{place % 3}")
        for place in range(64)
    ]
    await asyncio.gather(*map(stub.RecordFeedback, words))

    assert await admin.fetchval("SELECT count(*) FROM feedback") == 12
    await assert_sums_agree(admin)


async def test_a_call_that_is_not_booked_can_be_scored_by_its_facts_alone(
    stub: Stub, replica: Replica, admin: Connection
) -> None:
    call = report()
    wanted = score(0.5, call_id=str(call.call_id))
    error = await refusal(stub.RecordFeedback(wanted))
    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "CALL_NOT_FOUND")
    assert await admin.fetchval("SELECT count(*) FROM feedback") == 0

    wanted.call.CopyFrom(rated())
    assert (await stub.RecordFeedback(wanted)).effect == KEPT
    await replica.ledger.record([call])
    wanted.ClearField("call")

    assert (await stub.RecordFeedback(wanted)).effect == UNCHANGED


async def test_old_calls_are_not_scored_and_their_scores_leave_with_their_log(
    stub: Stub, settings: AccountingSettings, admin: Connection
) -> None:
    for days in (36, -1):
        late = score(1.0, call=rated(now() - dt.timedelta(days=days)))
        assert (await refusal(stub.RecordFeedback(late))).reason == "TOO_LATE"
    await stub.RecordFeedback(score(1.0, call=rated()))
    await stub.RecordFeedback(score(1.0, call=rated(now() - dt.timedelta(days=1))))
    await admin.execute("UPDATE feedback SET day = day - 90 WHERE day < $1", now().date())

    await drop_partitions(settings)
    await drop_partitions(settings)

    assert await admin.fetchval("SELECT count(*) FROM feedback") == 1
    assert await admin.fetchval("SELECT sum(score_count) FROM feedback_rollup") == 2


async def test_what_makes_no_sense_is_refused_by_its_field(stub: Stub) -> None:
    def ask(change: dict[str, Any]) -> Any:
        return stub.RecordFeedback(score(change.pop("score", 0.5), **({"call": rated()} | change)))

    wrong: list[Case] = [
        *(({"score": value}, "score", "from 0 to 1") for value in (-0.1, 1.1, math.nan, math.inf)),
        ({"metric": ""}, "metric", "required"),
        ({"metric": "Helpful"}, "metric", "must match"),
        ({"metric": "m" * 65}, "metric", "at most 64"),
        ({"org": ""}, "org", "required"),
        ({"call_id": "7"}, "call_id", "UUID"),
        ({"call": pb.RatedCall(operation="o")}, "call.candidate.provider", "required"),
    ]
    assert await refused_wrongly(wrong[:-1], ask) == []
    error = await refusal(ask(wrong[-1][0]))
    assert [each.field for each in error.violations] == [
        "call.candidate.provider",
        "call.candidate.model",
        "call.admit_time",
    ]


async def test_the_metrics_of_an_org_and_day_are_bounded(stub: Stub, monkeypatch: Any) -> None:
    monkeypatch.setattr(feedback, "METRIC_COUNT_MAX", 2)
    for metric in ("a", "b", "a"):
        await stub.RecordFeedback(score(0.5, call=rated(), metric=metric))
    error = await refusal(stub.RecordFeedback(score(0.5, call=rated(), metric="c")))

    assert [each.field for each in error.violations] == ["metric"]
    other = score(0.5, call=rated(), metric="c", org="globex")
    assert (await stub.RecordFeedback(other)).effect == KEPT
