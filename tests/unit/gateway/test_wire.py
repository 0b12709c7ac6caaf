"""Every wrong field of a call or a report is named, all at once, with the fix."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from chassis.errors import InvalidArgument, NotFound, ServiceError
from gateway import wire, wire_reports
from gateway.permits import PermitInvalid, Signer
from headgate.api.common.v1 import call_pb2
from headgate.api.gateway.v1 import gateway_pb2 as pb
from headgate.api.gateway.v1 import permit_pb2
from tests.unit.gateway.calls import ACME, BOTH, CALL_ID, OTHER_ID

SIGNER = Signer({"k": b"k" * 32})
PERMIT = SIGNER.sign(permit_pb2.Permit(org="acme", call_id=CALL_ID))
FOREIGN_PERMIT = SIGNER.sign(permit_pb2.Permit(org="globex", call_id=CALL_ID))


def candidate(provider: str = "openai", model: str = "gpt-4o-mini") -> call_pb2.Candidate:
    return call_pb2.Candidate(provider=provider, model=model)


def make_request(**values: Any) -> pb.AdmitCallRequest:
    return pb.AdmitCallRequest(**{"call_id": CALL_ID, "operation": "summarize"} | values)


def make_report(**values: Any) -> pb.CompleteCallRequest:
    defaults: dict[str, Any] = {"permit": PERMIT, "outcome": call_pb2.CALL_OUTCOME_SUCCEEDED}
    return pb.CompleteCallRequest(**defaults | values)


def violations(parse: Callable[[], object]) -> list[str]:
    with pytest.raises(InvalidArgument) as refused:
        parse()
    assert all(each.description for each in refused.value.violations)
    return [each.field for each in refused.value.violations]


def test_a_whole_call_is_read() -> None:
    request = make_request(
        call_id=CALL_ID.upper(),
        org="globex",
        parent_call_id=OTHER_ID,
        excluded_candidates=[candidate()],
        input_token_count=10,
        input_byte_count=40,
        max_output_token_count=0,
        labels={"ticket": "T-1"},
    )

    call = wire.parse_call(request, BOTH)

    assert (call.org, call.call_id, call.parent_call_id) == ("globex", CALL_ID, OTHER_ID)
    assert [str(each) for each in call.excluded_candidates] == ["openai/gpt-4o-mini"]
    assert (call.input_token_count, call.input_byte_count) == (10, 40)
    assert call.max_output_token_count == 0
    assert call.labels == {"ticket": "T-1"}
    assert call.api_key_id == BOTH.actor


def test_words_of_the_fallback_text_are_read() -> None:
    call = wire.parse_call(
        make_request(locale="DE_at", variables={"name": " Ada\nKing ", "empty": ""}), ACME
    )

    assert (call.locale, call.variables) == ("de-AT", {"name": " Ada\nKing ", "empty": ""})


def test_what_is_unset_has_its_meaning() -> None:
    call = wire.parse_call(make_request(), ACME)

    assert (call.org, call.parent_call_id, call.max_output_token_count) == ("acme", "", None)


@pytest.mark.parametrize(
    ("values", "fields"),
    [
        ({"call_id": ""}, ["call_id"]),
        (
            {"unit_bounds": call_pb2.UnitBounds(image_count=-1, audio_ms=10**9 + 1, page_count=3)},
            ["unit_bounds.image_count", "unit_bounds.audio_ms"],
        ),
        ({"call_id": "x" * 36}, ["call_id"]),
        ({"call_id": "{" + CALL_ID + "}"}, ["call_id"]),
        ({"call_id": CALL_ID + "0"}, ["call_id"]),
        ({"org": "a" * 65}, ["org"]),
        ({"locale": "german!"}, ["locale"]),
        ({"locale": "de" + "-a" * 20}, ["locale"]),
        ({"variables": {"Name": "Ada"}}, ["variables"]),
        ({"variables": {"name": "a" * 513}}, ["variables['name']"]),
        ({"variables": {"name": "a\0"}}, ["variables['name']"]),
        ({"variables": {f"v{at}": "" for at in range(17)}}, ["variables"]),
        ({"variables": {f"v{at}": "ä" * 200 for at in range(11)}}, ["variables"]),
        ({"org": "*"}, ["org"]),
        ({"org": "ac\x00me"}, ["org"]),
        ({"operation": ""}, ["operation"]),
        ({"operation": "Summarize"}, ["operation"]),
        ({"operation": ".x"}, ["operation"]),
        ({"operation": "a" * 65}, ["operation"]),
        ({"operation": "sum\nmarize"}, ["operation"]),
        ({"parent_call_id": "mother"}, ["parent_call_id"]),
        ({"parent_call_id": CALL_ID}, ["parent_call_id"]),
        ({"excluded_candidates": [candidate()] * 5}, ["excluded_candidates"]),
        (
            {"excluded_candidates": [candidate("", "")]},
            ["excluded_candidates[0].provider", "excluded_candidates[0].model"],
        ),
        (
            {"excluded_candidates": [candidate("Open AI"), candidate(model="gpt 4")]},
            ["excluded_candidates[0].provider", "excluded_candidates[1].model"],
        ),
        ({"excluded_candidates": [candidate(model="m" * 129)]}, ["excluded_candidates[0].model"]),
        ({"input_token_count": -1}, ["input_token_count"]),
        ({"input_token_count": 100_000_001}, ["input_token_count"]),
        ({"input_byte_count": -1}, ["input_byte_count"]),
        ({"input_byte_count": 1_000_000_001}, ["input_byte_count"]),
        ({"max_output_token_count": -1}, ["max_output_token_count"]),
        ({"max_output_token_count": 100_000_001}, ["max_output_token_count"]),
        ({"labels": {f"k{n}": "v" for n in range(9)}}, ["labels"]),
        ({"labels": {"": "v"}}, ["labels"]),
        ({"labels": {"k" * 65: "v"}}, ["labels"]),
        ({"labels": {"ticket": ""}}, ["labels['ticket']"]),
        ({"labels": {"ticket": "v" * 129}}, ["labels['ticket']"]),
        ({"labels": {f"k{n}": "€" * 128 for n in range(8)}}, ["labels"]),
        ({"call_id": "", "operation": "", "org": "*"}, ["org", "call_id", "operation"]),
    ],
    ids=str,
)  # fmt: skip
def test_every_wrong_field_of_a_call_is_named(values: dict[str, Any], fields: list[str]) -> None:
    assert violations(lambda: wire.parse_call(make_request(**values), ACME)) == fields


def test_a_key_of_several_orgs_must_name_one() -> None:
    assert violations(lambda: wire.parse_call(make_request(), BOTH)) == ["org"]


def test_another_org_is_not_found_whether_it_exists_or_not() -> None:
    with pytest.raises(NotFound) as refused:
        wire.parse_call(make_request(org="globex"), ACME)
    assert (refused.value.reason, refused.value.metadata) == ("ORG_NOT_FOUND", {"org": "globex"})


@pytest.mark.parametrize("count", [0, 257])
def test_a_batch_has_1_to_256_members(count: int) -> None:
    assert violations(lambda: wire.parse_each([0] * count, lambda item, at: item)) == ["calls"]


def test_a_wrong_member_is_its_own_error_and_knows_its_place() -> None:
    requests = [make_request(), make_request(call_id=""), make_request(org="globex")]

    parsed = wire.parse_each(requests, lambda each, at: wire.parse_call(each, ACME, at))

    assert not isinstance(parsed[0], ServiceError)
    assert isinstance(parsed[1], InvalidArgument)
    assert parsed[1].violations[0].field == "calls[1].call_id"
    assert isinstance(parsed[2], NotFound)


def test_an_error_of_a_member_carries_all_that_a_status_would() -> None:
    error = wire.parse_each(
        [make_request(call_id="")], lambda e, at: wire.parse_call(e, ACME, at)
    )[0]
    assert isinstance(error, ServiceError)

    message = pb.CallDecision()
    wire.write_decision(error, message)
    rendered = message.error

    assert rendered.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert rendered.reason == "INVALID_ARGUMENT"
    assert [each.field for each in rendered.violations] == ["calls[0].call_id"]
    assert rendered.violations[0].description in rendered.message


def test_a_permit_alone_names_the_call() -> None:
    report = wire_reports.parse_report(make_report(), ACME, SIGNER)

    assert (report.name.org, report.name.call_id) == ("acme", CALL_ID)
    assert report.name.permit is not None


def test_a_lost_permit_is_replaced_by_org_and_id() -> None:
    request = make_report(permit=b"", org="globex", call_id=CALL_ID.upper())

    name = wire_reports.parse_report(request, BOTH, SIGNER).name

    assert (name.org, name.call_id, name.permit) == ("globex", CALL_ID, None)


@pytest.mark.parametrize(
    ("values", "fields"),
    [
        ({"permit": b""}, ["call_id"]),
        ({"permit": b"", "call_id": "x"}, ["call_id"]),
        ({"permit": b"", "call_id": CALL_ID, "org": "a b"}, ["org"]),
        ({"org": "globex"}, ["org"]),
        ({"call_id": OTHER_ID}, ["call_id"]),
        ({"outcome": 0}, ["outcome"]),
        ({"outcome": 99}, ["outcome"]),
        *(
            ({"meters": call_pb2.UsageMeters(**{field: count})}, [f"meters.{field}"])
            for field in call_pb2.UsageMeters.DESCRIPTOR.fields_by_name
            for count in (-1, wire_reports.METER_COUNT_MAX + 1)
        ),
        ({"latency": Duration(seconds=-1)}, ["latency"]),
        ({"latency": Duration(nanos=-1)}, ["latency"]),
        ({"latency": Duration(nanos=1_000_000_000)}, ["latency"]),
        ({"latency": Duration(seconds=86_400, nanos=1)}, ["latency"]),
        ({"error_type": "e" * 65}, ["error_type"]),
        ({"error_type": "bad\x07"}, ["error_type"]),
        ({"outcome": 0, "error_type": " x"}, ["outcome", "error_type"]),
    ],
    ids=str,
)  # fmt: skip
def test_every_wrong_field_of_a_report_is_named(values: dict[str, Any], fields: list[str]) -> None:
    parse = wire_reports.parse_report

    assert violations(lambda: parse(make_report(**values), ACME, SIGNER)) == fields


def test_a_day_is_not_too_long_for_a_call() -> None:
    request = make_report(latency=Duration(seconds=86_400), meters=call_pb2.UsageMeters())

    assert wire_reports.parse_report(request, ACME, SIGNER).message is request


def test_another_orgs_permit_is_not_found() -> None:
    with pytest.raises(NotFound):
        wire_reports.parse_report(make_report(permit=FOREIGN_PERMIT), ACME, SIGNER)
    with pytest.raises(NotFound):
        wire_reports.parse_name(pb.ReleaseCallRequest(permit=FOREIGN_PERMIT), ACME, SIGNER)


@pytest.mark.parametrize(
    ("named", "field"), [({"call_id": OTHER_ID}, "call_id"), ({"org": "globex"}, "org")]
)
def test_a_permit_names_its_own_call_and_org_alone(named: dict[str, Any], field: str) -> None:
    release = pb.ReleaseCallRequest(permit=PERMIT, **named)

    assert violations(lambda: wire_reports.parse_report(make_report(**named), ACME, SIGNER)) == [
        field
    ]
    assert violations(lambda: wire_reports.parse_name(release, ACME, SIGNER)) == [field]


def test_a_forged_permit_is_refused() -> None:
    with pytest.raises(PermitInvalid):
        wire_reports.parse_report(make_report(permit=PERMIT[:-1] + b"\0"), ACME, SIGNER)
    with pytest.raises(PermitInvalid):
        wire_reports.parse_name(pb.ReleaseCallRequest(permit=b"made up"), ACME, SIGNER)


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (pb.ReleaseCallRequest(), ["call_id"]),
        (pb.ReleaseCallRequest(call_id=CALL_ID, org="*"), ["org"]),
        (pb.ReleaseCallRequest(permit=PERMIT, call_id=OTHER_ID, org="globex"), ["org", "call_id"]),
    ],
)
def test_every_wrong_field_of_a_release_is_named(
    request_: pb.ReleaseCallRequest, fields: list[str]
) -> None:
    assert violations(lambda: wire_reports.parse_name(request_, ACME, SIGNER)) == fields
