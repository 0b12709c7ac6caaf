"""Every wrong field of a report: named, explained, and the other members are booked."""

from __future__ import annotations

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.database import Connection
from headgate.api.accounting.v1 import accounting_pb2 as pb
from headgate.api.common.v1 import call_pb2
from tests.integration.accounting.refusals import Case, misses, refusal
from tests.integration.accounting.replicas import Stub
from tests.integration.accounting.samples import MODEL, PROVIDER, message

INVALID = grpc.StatusCode.INVALID_ARGUMENT
NOT_SIGNED = -1
TOO_MANY_LABELS = {f"key-{number}": "value" for number in range(9)}
HUGE_METER = call_pb2.UsageMeters(input_token_count=10**9 + 1)
NEGATIVE_METER = call_pb2.UsageMeters(reasoning_token_count=-1)
INT64_METER = call_pb2.UsageMeters(output_token_count=2**63 - 1)

WRONG_REPORTS: list[Case] = [
    ({"org": ""}, "org", "required"),
    ({"org": "x" * 129}, "org", "at most 128"),
    ({"org": " acme"}, "org", "spaces"),
    ({"org": "ac\x00me"}, "org", "control"),
    ({"call_id": ""}, "call_id", "UUID"),
    ({"call_id": "not-a-uuid"}, "call_id", "UUID"),
    ({"call_id": "{01890a5d-ac96-774b-bcce-b302099a8057}"}, "call_id", "UUID"),
    ({"parent_call_id": "nonsense"}, "parent_call_id", "UUID"),
    ({"operation": ""}, "operation", "required"),
    ({"operation": "x" * 129}, "operation", "at most 128"),
    ({"candidate": call_pb2.Candidate(model=MODEL)}, "candidate.provider", "required"),
    ({"candidate": call_pb2.Candidate(provider=PROVIDER)}, "candidate.model", "required"),
    (
        {"candidate": call_pb2.Candidate(provider="x" * 65, model=MODEL)},
        "candidate.provider",
        "at most 64",
    ),
    (
        {"candidate": call_pb2.Candidate(provider=PROVIDER, model="x" * 129)},
        "candidate.model",
        "at most 128",
    ),
    ({"admit_time": None}, "admit_time", "required"),
    ({"admit_time": Timestamp(seconds=-1)}, "admit_time", "permit"),
    ({"admit_time": Timestamp(seconds=2**62)}, "admit_time", "permit"),
    ({"admit_time": Timestamp(seconds=1, nanos=-1)}, "admit_time", "permit"),
    ({"admit_time": Timestamp(seconds=1, nanos=10**9)}, "admit_time", "permit"),
    ({"admit_time": Timestamp(seconds=253_402_300_799)}, "admit_time", "future"),
    ({"price_version": 0}, "price_version", "from 1"),
    ({"price_version": -5}, "price_version", "from 1"),
    ({"held_nanos": NOT_SIGNED}, "held_nanos", "from 0"),
    ({"held_nanos": 10**18 + 1}, "held_nanos", "to 1000000000000000000"),
    ({"api_key_id": "k" * 65}, "api_key_id", "at most 64"),
    ({"labels": TOO_MANY_LABELS}, "labels", "at most 8"),
    ({"labels": {"": "v"}}, "labels", "required"),
    ({"labels": {"k" * 65: "v"}}, "labels", "at most 64"),
    ({"labels": {"ticket": ""}}, 'labels["ticket"]', "required"),
    ({"labels": {"ticket": "v" * 129}}, 'labels["ticket"]', "at most 128"),
    ({"outcome": 0}, "outcome", "required"),
    ({"outcome": 99}, "outcome", "99"),
    ({"meters": HUGE_METER}, "meters.input_token_count", "to 1000000000"),
    ({"meters": NEGATIVE_METER}, "meters.reasoning_token_count", "from 0"),
    ({"meters": INT64_METER}, "meters.output_token_count", "to 1000000000"),
    ({"latency": Duration(seconds=-1)}, "latency", "7 days"),
    ({"latency": Duration(seconds=1, nanos=-1)}, "latency", "7 days"),
    ({"latency": Duration(seconds=7 * 86_400)}, "latency", "7 days"),
    ({"error_type": "x" * 65}, "error_type", "at most 64"),
]


async def test_each_wrong_report_fails_alone_and_names_its_field(
    stub: Stub, admin: Connection
) -> None:
    wrong = [message(**change) for change, _, _ in WRONG_REPORTS]
    response = await stub.Record(pb.RecordRequest(reports=[*wrong, message(), message()]))

    results = list(response.results)
    assert all(each.booking.first for each in results[-2:])
    missed = [
        (field, str(result.error))
        for place, (result, (_, field, words)) in enumerate(
            zip(results[:-2], WRONG_REPORTS, strict=True)
        )
        if result.error.code != INVALID.value[0]
        or result.error.reason != "INVALID_ARGUMENT"
        or misses(result.error.violations, f"reports[{place}].{field}", words)
    ]
    assert missed == []
    assert await admin.fetchval("SELECT count(*) FROM usage_log") == 2


async def test_all_wrong_fields_are_named_at_once(stub: Stub) -> None:
    wrong = message(org="", call_id="x", outcome=0)
    response = await stub.Record(pb.RecordRequest(reports=[wrong]))

    (result,) = response.results
    assert [each.field for each in result.error.violations] == [
        "reports[0].org",
        "reports[0].call_id",
        "reports[0].outcome",
    ]


@pytest.mark.parametrize("count", [0, 257])
async def test_a_batch_of_a_wrong_size_is_refused(stub: Stub, count: int) -> None:
    error = await refusal(stub.Record(pb.RecordRequest(reports=[message()] * count)))

    assert error.code is INVALID
    assert [each.field for each in error.violations] == ["reports"]


async def test_a_full_batch_is_booked(stub: Stub) -> None:
    response = await stub.Record(pb.RecordRequest(reports=[message() for _ in range(256)]))

    assert all(result.booking.first for result in response.results)


async def test_an_id_reused_with_another_payload_says_so(stub: Stub) -> None:
    once = message()
    other = pb.UsageReport()
    other.CopyFrom(once)
    other.held_nanos += 1

    await stub.Record(pb.RecordRequest(reports=[once]))
    (result,) = (await stub.Record(pb.RecordRequest(reports=[other]))).results

    assert result.error.code == grpc.StatusCode.ALREADY_EXISTS.value[0]
    assert result.error.reason == "ID_REUSED"
    assert result.error.metadata["call_id"] == once.call_id


async def test_a_report_beyond_the_horizon_is_too_late(stub: Stub) -> None:
    late = message(admit_time=Timestamp(seconds=1))
    (result,) = (await stub.Record(pb.RecordRequest(reports=[late]))).results

    assert result.error.code == grpc.StatusCode.FAILED_PRECONDITION.value[0]
    assert (result.error.reason, result.error.metadata["horizon_days"]) == ("TOO_LATE", "35")


async def test_every_member_may_be_wrong(stub: Stub) -> None:
    response = await stub.Record(pb.RecordRequest(reports=[message(org="")] * 2))

    assert [each.error.reason for each in response.results] == ["INVALID_ARGUMENT"] * 2
