"""The order of checks before admission is asked, and what becomes of its answers."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from chassis.errors import Internal, PeerUnavailable, ServiceError
from gateway.decisions import Admitted, Denied
from gateway.domain.calls import Candidate
from gateway.domain.estimates import Rate, ceiling
from gateway.domain.fitness import Breaker, BreakerState
from gateway.domain.stops import Stop
from headgate.api.admission.v1 import admission_pb2
from headgate.api.common.v1 import call_pb2, denial_pb2
from headgate.api.health.v1 import health_pb2
from tests.unit.gateway.calls import ANTHROPIC, OPENAI, ROUTE, make_call
from tests.unit.gateway.peers import CHEAP, SIGNER, Gateway, Method, hold_first

# Even one token is more than can be held.
ABSURD = ceiling(input_rates=[Rate(nanos_per_million=10**25)], output_rates=[])
OPEN = Breaker(state=BreakerState.OPEN, probe_time=10.0**12)
HALF_OPEN = Breaker(state=BreakerState.HALF_OPEN)
HELD = call_pb2.Candidate(provider="openai", model="gpt-4o-mini")


def hold_last(request: admission_pb2.ReservationRequest) -> admission_pb2.ReservationResult:
    last = request.candidates[-1]
    return admission_pb2.ReservationResult(hold=admission_pb2.Hold(candidate=last.candidate))


def put(gateway: Gateway, **breakers: Breaker) -> None:
    for provider, breaker in breakers.items():
        gateway.copy.breakers.put((provider, "", ""), breaker, now=0.0)


def reason(decision: object) -> denial_pb2.DenialReason.ValueType:
    assert isinstance(decision, Denied)
    return decision.denial.reason


async def test_candidates_are_asked_for_in_order_with_their_worst_case() -> None:
    gateway = Gateway()
    gateway.copy.breakers.epochs["anthropic"] = 8

    decision = await gateway.calls.admit(make_call(), deadline=None)

    (request,) = gateway.reserve.asked
    assert isinstance(decision, Admitted)
    assert [(each.candidate.provider, each.breaker_epoch) for each in request.candidates] == [
        ("openai", 0),
        ("anthropic", 8),
    ]
    assert {each.cost_nanos for each in request.candidates} == {900}
    assert (request.price_version, request.hold_duration.seconds) == (9, 60)
    assert SIGNER.verify(decision.permit).candidate == HELD


async def test_candidates_without_a_price_or_too_dear_to_hold_are_dropped() -> None:
    gateway = Gateway()
    gateway.ceilings = {("anthropic", ANTHROPIC.model): CHEAP, ("openai", OPENAI.model): ABSURD}
    await gateway.calls.admit(make_call(), deadline=None)
    gateway.ceilings = {("openai", OPENAI.model): ABSURD}

    denied = await gateway.calls.admit(make_call(), deadline=None)

    (request,) = gateway.reserve.asked
    assert [each.candidate.provider for each in request.candidates] == ["anthropic"]
    assert reason(denied) == denial_pb2.DENIAL_REASON_UNPRICED_MODEL


async def test_a_breaker_is_checked_before_a_price_and_a_kill_before_both() -> None:
    gateway = Gateway()
    gateway.ceilings = {}
    put(gateway, openai=OPEN, anthropic=OPEN)

    broken = await gateway.calls.admit(make_call(), deadline=None)
    gateway.copy.apply(health_pb2.WatchResponse())
    gateway.copy.stops = (Stop(kill_id="platform", message="Stopped.", scope={}),)
    killed = await gateway.calls.admit(make_call(), deadline=None)

    assert reason(broken) == denial_pb2.DENIAL_REASON_BREAKER_OPEN
    assert reason(killed) == denial_pb2.DENIAL_REASON_FENCED
    assert gateway.reserve.asked == []


async def test_denials_that_admission_never_sees_are_counted_by_reason() -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    gateway = Gateway(provider.get_meter("tests"))
    await gateway.calls.admit(make_call(), deadline=None)
    put(gateway, openai=OPEN, anthropic=OPEN)
    for _ in range(2):
        await gateway.calls.admit(make_call(), deadline=None)
    await gateway.calls.admit(make_call(excluded_candidates=ROUTE.candidates), deadline=None)

    found = json.loads(reader.get_metrics_data().to_json())  # type: ignore[union-attr]  # there are some
    provider.shutdown()
    (metric,) = found["resource_metrics"][0]["scope_metrics"][0]["metrics"]
    counts = {
        point["attributes"]["reason"]: point["value"] for point in metric["data"]["data_points"]
    }
    assert metric["name"] == "headgate.gateway.denials"
    assert counts == {"breaker_open": 2, "no_candidate": 1}


async def test_a_denial_stands_if_nobody_can_say_whether_the_call_is_known() -> None:
    gateway = Gateway()
    put(gateway, openai=OPEN, anthropic=OPEN)
    gateway.look_up = Method(PeerUnavailable("admission"))

    denied = await gateway.calls.admit(make_call(), deadline=None)

    assert reason(denied) == denial_pb2.DENIAL_REASON_BREAKER_OPEN
    assert len(gateway.look_up.asked) == 1


async def test_a_probe_goes_back_if_its_candidate_has_no_price() -> None:
    gateway = Gateway()
    put(gateway, openai=HALF_OPEN, anthropic=HALF_OPEN)
    gateway.ceilings = {}

    denied = await gateway.calls.admit(make_call(), deadline=None)

    assert reason(denied) == denial_pb2.DENIAL_REASON_UNPRICED_MODEL
    assert [each.outcome for each in await gateway.hear()] == [call_pb2.CALL_OUTCOME_ABORTED]


async def test_a_probe_goes_back_if_the_call_went_elsewhere() -> None:
    gateway = Gateway()
    put(gateway, openai=HALF_OPEN)
    gateway.reserve = Method(hold_last)

    decision = await gateway.calls.admit(make_call(), deadline=None)

    assert isinstance(decision, Admitted)
    assert decision.hold.candidate.provider == "anthropic"
    assert [each.provider for each in await gateway.hear()] == ["openai"]


async def test_a_probing_call_carries_the_probes_epoch() -> None:
    gateway = Gateway()
    put(gateway, openai=HALF_OPEN)

    decision = await gateway.calls.admit(make_call(), deadline=None)

    assert isinstance(decision, Admitted)
    assert SIGNER.verify(decision.permit).breaker_epoch == 4
    assert await gateway.hear() == []


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (admission_pb2.ReservationResult(), "INTERNAL"),
        (
            admission_pb2.ReservationResult(error=call_pb2.CallError(code=6, reason="ID_REUSED")),
            "ID_REUSED",
        ),
    ],
)
async def test_a_members_failure_is_its_own(
    result: admission_pb2.ReservationResult, expected: str
) -> None:
    gateway = Gateway()
    first = True

    def answer(request: admission_pb2.ReservationRequest) -> admission_pb2.ReservationResult:
        nonlocal first
        was_first, first = first, False
        return result if was_first else hold_first(request)

    gateway.reserve = Method(answer)
    failed, admitted, wrong = await gateway.calls.admit_all(
        [make_call(), make_call(), Internal()], deadline=None
    )

    assert isinstance(failed, ServiceError)
    assert failed.reason == expected
    assert isinstance(admitted, Admitted)
    assert isinstance(wrong, Internal)


async def test_a_member_that_got_no_answer_fails_alone() -> None:
    gateway = Gateway()
    gateway.reserve = Method(lambda request: PeerUnavailable("admission"))

    (failed,) = await gateway.calls.admit_all([make_call()], deadline=None)

    assert isinstance(failed, ServiceError)
    # What to show comes with it.
    assert (failed.reason, failed.metadata) == (
        "PEER_UNAVAILABLE",
        {"peer": "admission", "fallback_text": "Later, please."},
    )


def test_a_candidate_reads_as_people_write_it() -> None:
    assert str(Candidate(provider="openai", model="gpt-5")) == "openai/gpt-5"


async def test_a_probe_is_asked_for_the_whole_way_and_as_long_as_the_hold() -> None:
    gateway = Gateway()
    put(gateway, openai=HALF_OPEN)

    decision = await gateway.calls.admit(make_call(credential="acme/eu"), deadline=None)

    (asked,) = gateway.acquire_probe.asked
    assert isinstance(decision, Admitted)
    assert (asked.provider, asked.model) == (OPENAI.provider, OPENAI.model)
    assert (asked.credential, asked.lease_duration.seconds) == ("acme/eu", ROUTE.hold_seconds)
    assert SIGNER.verify(decision.permit).credential == "acme/eu"


async def test_a_stop_of_a_provider_drops_its_candidates_and_of_all_denies() -> None:
    gateway = Gateway()
    gateway.copy.apply(health_pb2.WatchResponse())
    gateway.copy.stops = (stop(provider="openai"),)
    moved = await gateway.calls.admit(make_call(), deadline=None)
    gateway.copy.stops += (stop(provider="anthropic"),)

    denied = await gateway.calls.admit(make_call(), deadline=None)

    (request,) = gateway.reserve.asked
    assert isinstance(moved, Admitted)
    assert [each.candidate.provider for each in request.candidates] == ["anthropic"]
    assert reason(denied) == denial_pb2.DENIAL_REASON_FENCED


def stop(**scope: str) -> Stop:
    return Stop(kill_id="some", message="Stopped.", scope=scope)


async def test_routes_that_may_be_old_are_looked_at_before_a_call_is_decided() -> None:
    gateway = Gateway()
    await gateway.calls.admit(make_call(), deadline=None)
    gateway.old = True
    await gateway.calls.admit(make_call(), deadline=None)

    assert gateway.look_count == 1


async def test_a_route_says_what_is_asked_of_admission_and_what_savings_are_counted_against() -> (
    None
):
    gateway = Gateway()
    plain = await gateway.calls.admit(make_call(), deadline=None)
    gateway.route = replace(ROUTE, weights=(0, 1), adaptive_percent=130, baseline=OPENAI)
    admitted = await gateway.calls.admit(make_call(), deadline=None)

    assert isinstance(plain, Admitted)
    assert isinstance(admitted, Admitted)
    first, second = gateway.reserve.asked
    assert [each.candidate.provider for each in first.candidates] == ["openai", "anthropic"]
    assert [each.candidate.provider for each in second.candidates] == ["anthropic", "openai"]
    assert (first.adaptive_percent, second.adaptive_percent) == (0, 130)
    assert not SIGNER.verify(plain.permit).HasField("baseline_model")
    assert SIGNER.verify(admitted.permit).baseline_model.model == OPENAI.model


async def test_a_call_must_bound_the_units_that_a_model_is_priced_by() -> None:
    gateway = Gateway()
    by_image = ceiling(
        input_rates=[],
        output_rates=[],
        unit_nanos={"image_count": 40 * 10**12},
        is_by_units=True,
    )
    gateway.ceilings = {(OPENAI.provider, OPENAI.model): by_image}
    denied = await gateway.calls.admit(make_call(), deadline=None)
    await gateway.calls.admit(make_call(unit_bounds={"image_count": 2}), deadline=None)

    assert isinstance(denied, Denied)
    assert denied.denial.reason == denial_pb2.DENIAL_REASON_UNPRICED_MODEL
    assert "must bound what they are priced by: image_count" in denied.denial.message
    (asked,) = gateway.reserve.asked
    assert [each.cost_nanos for each in asked.candidates] == [80_000_000]
