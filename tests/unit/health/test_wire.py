"""Every field of every message: what is taken, what is refused, and by which path."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Final

import pytest

from chassis.errors import InvalidArgument, ServiceError
from headgate.api.admission.v1 import admission_pb2
from headgate.api.common.v1 import call_pb2
from headgate.api.common.v1 import health_pb2 as common_pb2
from headgate.api.health.v1 import health_pb2 as pb
from services.health import wire, wire_breakers
from services.health.breakers import ProbeAnswer
from services.health.domain.breakers import (
    Breaker,
    BreakerState,
    CallKey,
    Key,
    Observation,
    ProbeWish,
    Way,
)
from services.health.domain.kills import Fence, KillOrder, KillState, ResumeOrder, killed
from services.health.domain.signals import Classification, Signal
from services.health.domain.states import HealthState, Update
from tests.unit.health.values import NOW, SECOND

CALL_ID: Final = "01890a5d-ac96-774b-bcce-b302099a8057"
TABLE: Final = Classification()
PLAIN: Final = Way(provider="openai", model="", credential="")
CALL: Final = CallKey(org="acme", call_id=uuid.UUID(CALL_ID))
OBSERVATION: Final = pb.Observation(
    provider="openai",
    breaker_epoch=3,
    outcome=call_pb2.CALL_OUTCOME_PROVIDER_FAILED,
    org="acme",
    call_id=CALL_ID,
)
PROBE: Final = pb.ProbeRequest(provider="openai", org="acme", call_id=CALL_ID)
KILL: Final = pb.KillRequest(reason="runaway", message="Back soon.", actor="ada", audit_id="a-1")
RESUME: Final = pb.ResumeRequest(reason="fixed", actor="bob", audit_id="a-2")
SWITCH: Final = killed(
    None, KillOrder(reason="r", message="m", actor="ada", audit_id="a-1"), now=NOW
)

WRONG_CALLS: Final = [
    ("provider", ""),
    ("provider", "Open AI"),
    ("provider", "-openai"),
    ("provider", "x" * 65),
    ("org", ""),
    ("org", "x" * 65),
    ("org", "a b"),
    ("org", " acme"),
    ("org", "acme\x00"),
    ("call_id", ""),
    ("call_id", "7"),
    ("call_id", CALL_ID.replace("-", "")),
    ("model", "gpt 4o"),
    ("model", "x" * 129),
    ("credential", "a/b/c"),
    ("credential", "x" * 130),
]
WRONG_TEXTS: Final = [
    ("reason", ""),
    ("reason", "x" * 1025),
    ("reason", "a\x07b"),
    ("reason", "trailing "),
    ("actor", ""),
    ("actor", "x" * 129),
    ("audit_id", ""),
    ("audit_id", "x" * 65),
]


def parse(request: pb.ObserveRequest) -> list[Observation | ServiceError]:
    return wire_breakers.parse_observations(request, TABLE)


def test_an_outcome_is_read_field_by_field() -> None:
    [parsed] = parse(pb.ObserveRequest(observations=[OBSERVATION]))

    assert parsed == Observation(way=PLAIN, epoch=3, signal=Signal.FAILED, call=CALL)


@pytest.mark.parametrize(
    ("outcome", "meaning"),
    [
        (call_pb2.CALL_OUTCOME_SUCCEEDED, Signal.SUCCEEDED),
        (call_pb2.CALL_OUTCOME_PROVIDER_FAILED, Signal.FAILED),
        (call_pb2.CALL_OUTCOME_REJECTED, Signal.NEUTRAL),
        (call_pb2.CALL_OUTCOME_ABORTED, Signal.NEUTRAL),
        (call_pb2.CALL_OUTCOME_THROTTLED, Signal.THROTTLED),
    ],
)
def test_only_what_the_provider_failed_is_a_failure(
    outcome: call_pb2.CallOutcome.ValueType, meaning: Signal
) -> None:
    member = pb.Observation()
    member.CopyFrom(OBSERVATION)
    member.outcome = outcome
    [parsed] = parse(pb.ObserveRequest(observations=[member]))

    assert isinstance(parsed, Observation)
    assert parsed.signal is meaning


def test_every_outcome_of_the_contract_has_a_meaning() -> None:
    assert {0, *wire_breakers.OUTCOMES} == set(call_pb2.CallOutcome.values())
    assert {0, *wire_breakers.BREAKER_STATES.values()} == set(common_pb2.BreakerState.values())
    assert {0, *wire.KILL_STATES.values()} == set(common_pb2.KillState.values())


@pytest.mark.parametrize(
    ("field", "value"),
    [*WRONG_CALLS, ("breaker_epoch", -1), ("outcome", 0), ("outcome", 99)],
)
def test_a_wrong_field_of_an_outcome_is_named_with_its_path(field: str, value: str | int) -> None:
    wrong = pb.Observation()
    wrong.CopyFrom(OBSERVATION)
    setattr(wrong, field, value)

    good, refused = parse(pb.ObserveRequest(observations=[OBSERVATION, wrong]))

    assert isinstance(good, Observation)
    assert isinstance(refused, InvalidArgument)
    assert [violation.field for violation in refused.violations] == [f"observations[1].{field}"]


def test_an_empty_outcome_names_all_its_wrong_fields() -> None:
    [refused] = parse(pb.ObserveRequest(observations=[pb.Observation()]))

    assert isinstance(refused, InvalidArgument)
    assert [violation.field.partition(".")[2] for violation in refused.violations] == [
        "provider",
        "outcome",
        "org",
        "call_id",
    ]


def test_a_wish_is_read_field_by_field() -> None:
    [parsed] = wire_breakers.parse_wishes(pb.AcquireProbesRequest(probes=[PROBE]))

    assert parsed == ProbeWish(way=PLAIN, call=CALL)


@pytest.mark.parametrize(("field", "value"), WRONG_CALLS)
def test_a_wrong_field_of_a_wish_is_named_with_its_path(field: str, value: str) -> None:
    wrong = pb.ProbeRequest()
    wrong.CopyFrom(PROBE)
    setattr(wrong, field, value)

    refused, good = wire_breakers.parse_wishes(pb.AcquireProbesRequest(probes=[wrong, PROBE]))

    assert isinstance(good, ProbeWish)
    assert isinstance(refused, InvalidArgument)
    assert [violation.field for violation in refused.violations] == [f"probes[0].{field}"]


def test_orders_are_read_field_by_field() -> None:
    assert wire.parse_kill(KILL) == KillOrder(
        reason="runaway", message="Back soon.", actor="ada", audit_id="a-1"
    )
    assert wire.parse_resume(RESUME) == ResumeOrder(reason="fixed", actor="bob", audit_id="a-2")


def test_a_kill_needs_no_message() -> None:
    request = pb.KillRequest(reason="runaway", actor="ada", audit_id="a-1")

    assert wire.parse_kill(request).message == ""


@pytest.mark.parametrize(
    ("field", "value"), [*WRONG_TEXTS, ("message", "x" * 1025), ("message", "a\x00")]
)
def test_a_wrong_field_of_a_kill_is_named(field: str, value: str) -> None:
    wrong = pb.KillRequest()
    wrong.CopyFrom(KILL)
    setattr(wrong, field, value)

    with pytest.raises(InvalidArgument) as refused:
        wire.parse_kill(wrong)
    assert [violation.field for violation in refused.value.violations] == [field]


@pytest.mark.parametrize(("field", "value"), WRONG_TEXTS)
def test_a_wrong_field_of_a_resume_is_named(field: str, value: str) -> None:
    wrong = pb.ResumeRequest()
    wrong.CopyFrom(RESUME)
    setattr(wrong, field, value)

    with pytest.raises(InvalidArgument) as refused:
        wire.parse_resume(wrong)
    assert [violation.field for violation in refused.value.violations] == [field]


def test_refused_members_keep_their_places_among_the_answers() -> None:
    parsed = wire_breakers.parse_wishes(pb.AcquireProbesRequest(probes=[pb.ProbeRequest(), PROBE]))

    rendered = wire_breakers.render_probes(parsed, [ProbeAnswer(granted=True, epoch=4)])

    refused, answered = rendered.results
    assert refused.error.reason == "INVALID_ARGUMENT"
    assert (refused.granted, refused.breaker_epoch) == (False, 0)
    assert (answered.granted, answered.breaker_epoch) == (True, 4)
    assert not answered.HasField("error")


def test_an_open_breaker_is_rendered_with_its_times() -> None:
    breaker = replace(
        Breaker(key=Key(provider="openai")),
        state=BreakerState.OPEN,
        epoch=1,
        failure_count=5,
        open_until=NOW + SECOND,
        change_time=NOW,
        failure_time=NOW,
    )
    rendered = wire.render_update(Update(version=7, is_snapshot=False, breakers=(breaker,)))

    [provider] = rendered.providers
    assert (rendered.version, rendered.snapshot) == (7, False)
    assert (provider.provider, provider.state, provider.epoch) == (
        "openai",
        common_pb2.BREAKER_STATE_OPEN,
        1,
    )
    assert provider.consecutive_failure_count == 5
    assert provider.probe_time.ToDatetime(tzinfo=NOW.tzinfo) == NOW + SECOND
    assert provider.failure_time.ToDatetime(tzinfo=NOW.tzinfo) == NOW
    assert not provider.HasField("success_time")


def test_the_whole_state_is_rendered_without_what_was_lifted() -> None:
    lifted = replace(SWITCH, state=KillState.RESUMED)
    breakers = (Breaker(key=Key(provider="openai")),)

    shown = wire.render_health(HealthState(version=2, breakers=breakers, kills=(SWITCH,)))
    hidden = wire.render_health(HealthState(version=3, breakers=breakers, kills=(lifted,)))

    assert (shown.version, len(shown.providers)) == (2, 1)
    assert [kill.kill_id for kill in shown.kills] == ["platform"]
    assert list(hidden.kills) == []


@pytest.mark.parametrize("state", KillState)
def test_the_fence_says_what_is_wanted(state: KillState) -> None:
    switch = replace(SWITCH, state=state, sequence=9)

    assert wire.render_fence(switch) == admission_pb2.SetFenceRequest(
        fence_id="platform", sequence=9, active=switch.is_wanted, message="m", actor="ada"
    )


def test_the_fence_is_read_as_admission_says_it_is() -> None:
    response = admission_pb2.SetFenceResponse(sequence=4, active=True)

    assert wire.parse_fence(response) == Fence(sequence=4, active=True)
