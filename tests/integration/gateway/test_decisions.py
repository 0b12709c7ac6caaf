"""What a call is told: each member by itself, where to go, at what price, and why not."""

from __future__ import annotations

from typing import Any

from headgate.api.common.v1 import call_pb2, denial_pb2, limit_pb2, price_pb2
from headgate.api.gateway.v1 import admin_pb2
from headgate.api.gateway.v1 import gateway_pb2 as pb
from tests.integration.gateway.system import (
    ACME_KEY,
    ADMIN_KEY,
    GLOBEX_KEY,
    System,
    eventually,
    new_id,
    refusal,
)
from tests.integration.gateway.traffic import (
    ANTHROPIC,
    METERS_NANOS,
    OPENAI,
    SUCCEEDED,
    admit,
    deny,
    make_call,
    money_of,
    report,
)


async def test_each_member_of_a_batch_is_answered_by_itself(system: System) -> None:
    backend = system.backend()
    good, twin = make_call(), make_call()
    twin.call_id = good.call_id
    calls = [
        good,
        make_call(org="globex"),
        twin,
        make_call("", operation="no-such"),
        pb.AdmitCallRequest(call_id="x", operation="summarize"),
        make_call(excluded_candidates=[OPENAI, ANTHROPIC]),
        make_call(),
    ]

    decisions = (await backend.AdmitCalls(pb.AdmitCallsRequest(calls=calls))).decisions
    kinds = [each.WhichOneof("decision") for each in decisions]
    reports = [
        report(decisions[0].admission),
        pb.CompleteCallRequest(permit=b"forged", outcome=SUCCEEDED),
        pb.CompleteCallRequest(call_id=new_id(), outcome=SUCCEEDED),
        pb.CompleteCallRequest(permit=decisions[6].admission.permit),
        report(decisions[6].admission),
    ]
    results = (await backend.CompleteCalls(pb.CompleteCallsRequest(calls=reports))).results

    assert kinds == ["admission", "error", "admission", "error", "error", "denial", "admission"]
    assert [each.error.reason for each in decisions if each.HasField("error")] == [
        "ORG_NOT_FOUND",
        "OPERATION_NOT_FOUND",
        "INVALID_ARGUMENT",
    ]
    assert decisions[4].error.violations[0].field == "calls[4].call_id"
    assert decisions[2].admission.replayed
    assert [each.receipt.total_nanos or each.error.reason for each in results] == [
        METERS_NANOS,
        "PERMIT_INVALID",
        "CALL_NOT_FOUND",
        "INVALID_ARGUMENT",
        METERS_NANOS,
    ]
    assert results[3].error.violations[0].field == "calls[3].outcome"
    assert await money_of(system, "acme") == (0, *[2 * METERS_NANOS] * 3)


async def test_a_failed_candidate_is_not_chosen_again(system: System) -> None:
    backend = system.backend()
    first = await admit(backend, make_call())

    second = await admit(
        backend, make_call(parent_call_id=first.call_id, excluded_candidates=[OPENAI])
    )
    third = await deny(backend, make_call(excluded_candidates=[OPENAI, ANTHROPIC]))
    await backend.CompleteCall(report(second))

    assert second.candidate == ANTHROPIC
    assert third.reason == denial_pb2.DENIAL_REASON_NO_CANDIDATE
    assert third.fallback_text == first.fallback_text
    (row,) = await system.fetch("accounting", "SELECT parent_call_id, model FROM usage_log")
    assert (str(row["parent_call_id"]), row["model"]) == (first.call_id, ANTHROPIC.model)


async def test_without_a_bound_the_routes_bound_is_held_and_echoed(system: System) -> None:
    request = pb.AdmitCallRequest(
        call_id=new_id(), operation="summarize", input_token_count=10, input_byte_count=40
    )

    admission = await admit(system.backend(), request)

    assert admission.max_output_token_count == 4_096
    assert admission.held_nanos == 40 * 150 + 4_096 * 600


async def test_a_denial_names_the_limit_its_owner_and_the_fallback_text(system: System) -> None:
    limit = limit_pb2.Limit(
        limit_id="acme-month",
        scope={"org": "acme"},
        metric=limit_pb2.METRIC_COST,
        calendar=limit_pb2.CalendarWindow(period=limit_pb2.CALENDAR_PERIOD_MONTH),
        cap=500_000,
        owner="acme's finance",
    )
    await system.staff().PutLimit(admin_pb2.PutLimitRequest(limit=limit))
    backend = system.backend()

    admitted = [await admit(backend, make_call()) for _ in range(2)]
    denial = await deny(backend, make_call())
    other = await admit(system.backend(GLOBEX_KEY), make_call())

    assert sum(each.held_nanos for each in admitted) == 420_000
    assert denial.reason == denial_pb2.DENIAL_REASON_BUDGET_EXCEEDED
    assert denial.fallback_text == admitted[0].fallback_text
    violated = {each.candidate.provider: each for each in denial.violations}
    assert set(violated) == {"openai", "anthropic"}
    assert violated["openai"].limit_id == "acme-month"
    assert violated["openai"].owner == "acme's finance"
    assert (violated["openai"].held, violated["openai"].requested) == (420_000, 210_000)
    assert violated["openai"].excess == 130_000
    assert other.org == "globex"


async def test_a_key_of_two_orgs_says_for_whom_it_calls(system: System) -> None:
    created = await system.staff().CreateApiKey(
        admin_pb2.CreateApiKeyRequest(
            name="both", role=admin_pb2.ROLE_BACKEND, orgs=["acme", "globex"]
        )
    )
    both = system.backend(created.secret)

    unnamed = await refusal(both.AdmitCall(make_call()))
    admission = await admit(both, make_call(org="globex"))

    assert (unnamed.code, unnamed.fields) == ("INVALID_ARGUMENT", ("org",))
    assert admission.org == "globex"


async def test_strangers_learn_nothing_of_another_orgs_calls(system: System) -> None:
    acme, globex = system.backend(ACME_KEY), system.backend(GLOBEX_KEY)
    admission = await admit(acme, make_call())
    by_id: dict[str, Any] = {"org": "acme", "call_id": admission.call_id}

    answers = [
        await refusal(globex.AdmitCall(make_call(admission.call_id, org="acme"))),
        await refusal(globex.CompleteCall(report(admission))),
        await refusal(globex.CompleteCall(pb.CompleteCallRequest(outcome=SUCCEEDED, **by_id))),
        await refusal(globex.ReleaseCall(pb.ReleaseCallRequest(permit=admission.permit))),
        await refusal(globex.ReleaseCall(pb.ReleaseCallRequest(**by_id))),
    ]
    same_id = await admit(globex, make_call(admission.call_id))
    of_admin = await refusal(system.backend(ADMIN_KEY).AdmitCall(make_call()))

    assert {(each.code, each.reason) for each in answers} == {("NOT_FOUND", "ORG_NOT_FOUND")}
    # An id belongs to an org: the other org's call is another call.
    assert not same_id.replayed
    assert of_admin.code == "PERMISSION_DENIED"
    assert (await money_of(system, "acme"))[0] == admission.held_nanos


async def test_a_call_is_priced_as_it_was_admitted(system: System) -> None:
    backend, staff = system.backend(), system.staff()
    before = await admit(backend, make_call())
    prices = await staff.ListPrices(admin_pb2.ListPricesRequest(provider="openai", page_size=1000))
    (price,) = [each for each in prices.prices if each.model == "gpt-4o-mini" and not each.org]
    for meter in price.meters:
        meter.nanos_per_million *= 2
    price.org = "acme"
    await staff.PutPrice(admin_pb2.PutPriceRequest(price=price))

    async def is_dearer() -> bool:
        return (await admit(backend, make_call())).held_nanos > before.held_nanos

    await eventually(is_dearer)
    after = await admit(backend, make_call())
    old = (await backend.CompleteCall(report(before))).receipt
    new = (await backend.CompleteCall(report(after))).receipt

    assert after.held_nanos == 2 * before.held_nanos
    assert (old.total_nanos, new.total_nanos) == (METERS_NANOS, 2 * METERS_NANOS)


async def test_a_model_without_a_price_is_denied_and_gets_one(system: System) -> None:
    staff, backend = system.staff(), system.backend()
    own = call_pb2.Candidate(provider="acme-ai", model="own")
    meters = [
        price_pb2.MeterPrice(meter=price_pb2.METER_INPUT),
        price_pb2.MeterPrice(meter=price_pb2.METER_OUTPUT),
    ]
    theirs = price_pb2.ModelPrice(provider="acme-ai", model="own", org="globex", meters=meters)
    await staff.PutPrice(admin_pb2.PutPriceRequest(price=theirs))
    # Somebody's price is enough for the route; whoever has none is denied.
    route = admin_pb2.Route(operation="own", candidates=[own], fallback_text="Not yet.")
    await staff.PutRoute(admin_pb2.PutRouteRequest(route=route))
    denials: list[denial_pb2.Denial] = []

    async def is_routed(wanted: str) -> bool:
        calls = pb.AdmitCallsRequest(calls=[make_call(operation="own")])
        (decision,) = (await backend.AdmitCalls(calls)).decisions
        if decision.HasField("denial"):
            denials.append(decision.denial)
        return bool(decision.WhichOneof("decision") == wanted)

    await eventually(lambda: is_routed("denial"))
    price = price_pb2.ModelPrice(provider="acme-ai", model="own", meters=meters)
    await staff.PutPrice(admin_pb2.PutPriceRequest(price=price))
    await eventually(lambda: is_routed("admission"))

    assert denials[0].reason == denial_pb2.DENIAL_REASON_UNPRICED_MODEL
    assert denials[0].fallback_text == "Not yet."
    assert "acme-ai/own" in denials[0].message
    # Free is a price.
    assert (await admit(backend, make_call(operation="own"))).held_nanos == 0
