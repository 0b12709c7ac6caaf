"""Reports and answers between the contract and the domain."""

from __future__ import annotations

import datetime as dt

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.errors import InvalidArgument, StoreUnavailable
from headgate.api.accounting.v1 import accounting_pb2 as pb
from headgate.api.common.v1 import call_pb2
from services.accounting import wire
from services.accounting.domain.meters import METER_FIELDS, REPORTED, MeterCounts
from services.accounting.domain.usage import Booking, CostBasis, Outcome, Refusal, Report
from tests.integration.accounting.samples import message, report

BOOKING = Booking(7, CostBasis.METERS, revision=1, first=True)


def parse(one: pb.UsageReport) -> Report:
    (member,) = wire.parse_reports(pb.RecordRequest(reports=[one]))
    assert isinstance(member, Report), member
    return member


def test_the_meters_of_contract_and_domain_are_the_same_in_the_same_order() -> None:
    fields = [field.name for field in call_pb2.UsageMeters.DESCRIPTOR.fields]

    assert fields == list(METER_FIELDS)
    assert len(METER_FIELDS) == len(REPORTED)
    assert {outcome.value for outcome in Outcome} == set(call_pb2.CallOutcome.values()) - {0}
    assert {basis.value for basis in CostBasis} == set(call_pb2.CostBasis.values()) - {0}


def test_what_is_not_said_is_missing_and_not_zero() -> None:
    bare = parse(message(latency=None, meters=call_pb2.UsageMeters(output_token_count=0)))

    assert bare.latency_ms is None
    assert bare.parent_call_id is None
    assert bare.meters == MeterCounts(output=0)


@pytest.mark.parametrize(
    ("nanos", "micros"), [(0, 0), (999, 0), (1_000, 1), (999_999_999, 999_999)]
)
def test_a_time_of_admission_is_cut_to_the_microsecond(nanos: int, micros: int) -> None:
    parsed = parse(message(admit_time=Timestamp(seconds=86_400, nanos=nanos)))

    assert parsed.admit_time == dt.datetime(1970, 1, 2, 0, 0, 0, micros, tzinfo=dt.UTC)


def test_a_latency_is_cut_to_the_millisecond() -> None:
    assert parse(message(latency=Duration(seconds=2, nanos=1_999_999))).latency_ms == 2_001
    assert parse(message(latency=Duration(seconds=604_799, nanos=999_999_999))).latency_ms == (
        604_799_999
    )


def test_an_id_is_the_same_in_any_case() -> None:
    call_id = "01890A5D-AC96-774B-BCCE-B302099A8057"

    assert str(parse(message(call_id=call_id)).call_id) == call_id.lower()


def test_answers_go_to_the_members_that_were_valid() -> None:
    bad = InvalidArgument([])
    response = wire.render_record([bad, report(), report()], [Refusal.DATA_ERROR, BOOKING])

    first, second, third = response.results
    assert first.error.reason == second.error.reason == "INVALID_ARGUMENT"
    assert [each.field for each in second.error.violations] == ["reports[1]"]
    assert (third.booking.total_nanos, third.booking.first) == (7, True)


def test_a_member_that_the_database_failed_is_told_to_come_back() -> None:
    response = wire.render_record([report(), report()], [StoreUnavailable(), BOOKING])

    assert [each.error.reason for each in response.results] == ["STORE_UNAVAILABLE", ""]


def test_a_database_that_failed_all_members_fails_the_rpc() -> None:
    with pytest.raises(StoreUnavailable):
        wire.render_record([report()] * 2, [StoreUnavailable(), StoreUnavailable()])
