from __future__ import annotations

import enum
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.duration_pb2 import Duration

from headgate import decisions, wire
from headgate.api.common.v1 import call_pb2, denial_pb2, health_pb2, limit_pb2
from headgate.api.gateway.v1 import gateway_pb2
from headgate.errors import IdReused, RpcError
from headgate.failures import parse_duration

ENUMS: list[tuple[type[enum.Enum], EnumDescriptor]] = [
    (decisions.CallOutcome, call_pb2.CallOutcome.DESCRIPTOR),
    (decisions.CostBasis, call_pb2.CostBasis.DESCRIPTOR),
    (decisions.DenialReason, denial_pb2.DenialReason.DESCRIPTOR),
    (decisions.FinishedState, gateway_pb2.FinishedState.DESCRIPTOR),
    (decisions.Metric, limit_pb2.Metric.DESCRIPTOR),
    (decisions.RetryKind, denial_pb2.RetryKind.DESCRIPTOR),
    (decisions.ServiceState, gateway_pb2.ServiceState.DESCRIPTOR),
]


@pytest.mark.parametrize(("kind", "descriptor"), ENUMS, ids=[kind.__name__ for kind, _ in ENUMS])
def test_an_enum_has_the_contracts_values(
    kind: type[enum.Enum], descriptor: EnumDescriptor
) -> None:
    prefix = descriptor.values_by_number[0].name.removesuffix("UNSPECIFIED")
    contract = {value.name.removeprefix(prefix) for value in descriptor.values}

    # What the client says when it has not been told anything.
    own = {"UNRECOGNIZED", "UNREACHABLE"}
    assert {each.name for each in kind} - own == contract - {"UNSPECIFIED"}
    assert all(each.name == each.value for each in kind)


@pytest.mark.parametrize("outcome", decisions.CallOutcome)
def test_an_outcome_has_its_number(outcome: decisions.CallOutcome) -> None:
    assert call_pb2.CallOutcome.Name(wire.render_outcome(outcome)).endswith(outcome.name)


def test_an_admission_is_read() -> None:
    message = gateway_pb2.Admission(
        call_id="c",
        org="acme",
        candidate=call_pb2.Candidate(provider="openai", model="m"),
        held_nanos=7,
        max_output_token_count=9,
        permit=b"signed",
        replayed=True,
        fallback_text="later",
    )
    message.admit_time.FromSeconds(1)
    message.expire_time.FromMilliseconds(2_500)

    assert wire.parse_decision(gateway_pb2.CallDecision(admission=message)) == decisions.Admission(
        call_id="c",
        org="acme",
        candidate=decisions.Candidate("openai", "m"),
        held_nanos=7,
        max_output_tokens=9,
        permit=b"signed",
        admit_time=datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC),
        expire_time=datetime(1970, 1, 1, 0, 0, 2, 500_000, tzinfo=UTC),
        replayed=True,
        fallback_text="later",
    )


def test_a_permit_is_not_in_what_is_printed() -> None:
    decision = wire.parse_decision(
        gateway_pb2.CallDecision(admission=gateway_pb2.Admission(permit=b"signed"))
    )

    assert "signed" not in repr(decision)


def test_a_denial_is_read_with_its_violations() -> None:
    message = denial_pb2.Denial(
        reason=denial_pb2.DENIAL_REASON_BUDGET_EXCEEDED,
        retry_kind=denial_pb2.RETRY_KIND_AT_LATEST,
        message="too much",
        fallback_text="later",
    )
    message.retry_delay.FromNanoseconds(1_000_000_001)
    violation = message.violations.add(
        limit_id="acme-monthly",
        owner="finance@example.com",
        metric=limit_pb2.METRIC_COST,
        scope={"org": "acme"},
        cap=10,
        settled=6,
        held=3,
        requested=5,
        excess=4,
        candidate=call_pb2.Candidate(provider="openai", model="m"),
    )
    violation.reset_time.FromSeconds(60)
    message.violations.add(metric=limit_pb2.METRIC_CALLS)

    denial = wire.parse_decision(gateway_pb2.CallDecision(denial=message))
    assert isinstance(denial, decisions.Denial)
    assert denial.reason is decisions.DenialReason.BUDGET_EXCEEDED
    assert denial.retry_kind is decisions.RetryKind.AT_LATEST
    assert denial.retry_delay == timedelta(seconds=1, microseconds=1)
    assert denial.violations[0] == decisions.Violation(
        limit_id="acme-monthly",
        owner="finance@example.com",
        metric=decisions.Metric.COST,
        scope={"org": "acme"},
        cap=10,
        settled=6,
        held=3,
        requested=5,
        excess=4,
        reset_time=datetime(1970, 1, 1, 0, 1, tzinfo=UTC),
        candidate=decisions.Candidate("openai", "m"),
    )
    assert denial.violations[1].reset_time is None


def test_a_denial_may_say_nothing_of_when_to_come_back() -> None:
    denial = wire.parse_denial(denial_pb2.Denial(retry_kind=denial_pb2.RETRY_KIND_NEVER))

    assert denial.retry_delay is None


def test_values_of_a_newer_gateway_are_not_mistaken_for_others() -> None:
    denial = wire.parse_denial(denial_pb2.Denial(reason=99, retry_kind=0))  # type: ignore[arg-type]

    assert denial.reason is decisions.DenialReason.UNRECOGNIZED
    assert denial.retry_kind is decisions.RetryKind.UNRECOGNIZED


def test_a_member_that_failed_is_an_error_of_its_own() -> None:
    failed = call_pb2.CallError(
        code=6,
        reason="ID_REUSED",
        message="used",
        metadata={"call_id": "c"},
        violations=[call_pb2.FieldViolation(field="calls[1].org", description="is wrong")],
    )
    decision = wire.parse_decision(gateway_pb2.CallDecision(error=failed))
    result = wire.parse_completion(gateway_pb2.CompletionResult(error=failed))

    assert isinstance(decision, IdReused)
    assert isinstance(result, IdReused)
    assert (decision.code, decision.metadata) == ("ALREADY_EXISTS", {"call_id": "c"})
    assert str(decision) == "ID_REUSED: used; calls[1].org: is wrong"


@pytest.mark.parametrize(
    "answer",
    [
        wire.parse_decision(gateway_pb2.CallDecision()),
        wire.parse_completion(gateway_pb2.CompletionResult()),
    ],
)
def test_an_answer_of_no_known_kind_is_an_error(answer: Any) -> None:
    assert isinstance(answer, RpcError)
    assert answer.code == "UNKNOWN"


def test_a_receipt_is_read() -> None:
    message = gateway_pb2.CallReceipt(
        call_id="c", total_nanos=5, cost_basis=call_pb2.COST_BASIS_HOLD, replayed=True
    )

    assert wire.parse_completion(
        gateway_pb2.CompletionResult(receipt=message)
    ) == decisions.Receipt(
        call_id="c", total_nanos=5, cost_basis=decisions.CostBasis.HOLD, replayed=True
    )


def test_a_status_names_the_providers_that_are_not_fit() -> None:
    message = gateway_pb2.GetStatusResponse(
        state=gateway_pb2.SERVICE_STATE_DEGRADED,
        kills=[health_pb2.KillSwitch(message="Stopped.")],
        providers=[
            health_pb2.ProviderHealth(provider="a", state=health_pb2.BREAKER_STATE_CLOSED),
            health_pb2.ProviderHealth(provider="b", state=health_pb2.BREAKER_STATE_OPEN),
            health_pb2.ProviderHealth(provider="c", state=health_pb2.BREAKER_STATE_HALF_OPEN),
        ],
        stale=True,
    )

    assert wire.parse_status(message) == decisions.Status(
        state=decisions.ServiceState.DEGRADED,
        kill_messages=("Stopped.",),
        unfit_providers=("b", "c"),
        stale=True,
    )


@pytest.mark.parametrize(
    ("seconds", "nanos"), [(0.0, 0), (1.25, 1_250_000_000), (86_400, 86_400 * 10**9), (1e-9, 0)]
)
def test_a_duration_is_cut_to_microseconds(seconds: float, nanos: int) -> None:
    rendered = wire.render_duration(seconds)

    assert rendered is not None
    assert rendered.ToNanoseconds() == nanos
    assert wire.render_duration(None) is None


def test_a_wait_is_rounded_up_so_that_it_is_enough() -> None:
    assert parse_duration(Duration(seconds=2, nanos=1)) == timedelta(seconds=2, microseconds=1)
