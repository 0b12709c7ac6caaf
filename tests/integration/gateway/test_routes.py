"""Routes as staff write them: in force everywhere at once, remembered, never lost to a race."""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid
from typing import Any

import pytest

from headgate.api.common.v1 import call_pb2, price_pb2, usage_pb2
from headgate.api.gateway.v1 import admin_pb2 as pb
from headgate.api.gateway.v1 import gateway_pb2
from tests.integration.gateway.system import ADMIN_KEY, System, refusal
from tests.integration.gateway.traffic import admit, make_call, report

OPENAI = call_pb2.Candidate(provider="openai", model="gpt-4o-mini")
ANTHROPIC = call_pb2.Candidate(provider="anthropic", model="claude-haiku-4-5")
GOOGLE = call_pb2.Candidate(provider="google", model="gemini-2.5-flash-lite")
# What the meters of `report` cost at Anthropic's prices, 1 and 5 dollars a million.
BASELINE_NANOS = 900 * 1_000 + 50 * 5_000
NOBODY = call_pb2.Candidate(provider="nobody", model="unpriced")


def make_route(*candidates: call_pb2.Candidate, **values: Any) -> pb.Route:
    values.setdefault("operation", "draft")
    return pb.Route(candidates=candidates or [OPENAI], **values)


async def put(system: System, route: pb.Route, **values: Any) -> pb.Route:
    answer = await system.staff().PutRoute(pb.PutRouteRequest(route=route, **values))
    stored: pb.Route = answer.route
    return stored


async def test_a_change_is_in_force_on_every_gateway_when_it_returns(system: System) -> None:
    await system.start("second")
    backends = [system.backend(at=name) for name in ("gateway", "second")]
    candidates = [OPENAI, ANTHROPIC, GOOGLE]
    for turn in range(12):
        wanted = candidates[turn % 3]
        await put(system, make_route(wanted))
        found = await asyncio.gather(
            *(admit(backend, make_call(operation="draft")) for backend in backends)
        )
        assert [each.candidate for each in found] == [wanted, wanted]

    await system.staff().DeleteRoute(pb.DeleteRouteRequest(operation="draft"))
    for backend in backends:
        gone = await refusal(backend.AdmitCall(make_call(operation="draft")))
        assert gone.reason == "OPERATION_NOT_FOUND"


async def test_a_writer_waits_for_a_silent_gateway_no_longer_than_its_lease(
    system: System,
) -> None:
    # A gateway that is gone without a word, and one that is gone for long.
    for seconds in (0, 3_000):
        await system.fetch(
            "gateway",
            "INSERT INTO route_reader"
            " VALUES ($1, 0, clock_timestamp() - make_interval(secs => $2))",
            uuid.uuid4(),
            seconds,
        )
    began = asyncio.get_running_loop().time()
    await put(system, make_route(OPENAI))
    assert 1.5 < asyncio.get_running_loop().time() - began < 8
    began = asyncio.get_running_loop().time()
    await put(system, make_route(GOOGLE))
    assert asyncio.get_running_loop().time() - began < 2


async def test_a_gateway_that_left_is_waited_for_no_more(system: System) -> None:
    await system.start("second")
    await system.stop("second")

    assert len(await system.fetch("gateway", "SELECT * FROM route_reader")) == 1


async def test_a_route_keeps_who_changed_it_when_and_to_what(system: System) -> None:
    staff = system.staff()
    first = await put(system, make_route(OPENAI, tags=["eu"], fallback_template="sorry"))
    same = await put(system, make_route(OPENAI, tags=["eu"], fallback_template="sorry"))
    second = await put(system, make_route(GOOGLE, ANTHROPIC, weights=[1, 3]))
    await staff.DeleteRoute(pb.DeleteRouteRequest(operation="draft"))
    back = (await staff.RollbackRoute(pb.RollbackRouteRequest(operation="draft", version=1))).route
    third = await put(system, make_route(ANTHROPIC))

    request = pb.ListRouteVersionsRequest(operation="draft", page_size=2)
    page = await staff.ListRouteVersions(request)
    versions = list(page.versions)
    while page.next_page_token:
        request.page_token = page.next_page_token
        page = await staff.ListRouteVersions(request)
        versions += page.versions

    assert same == first
    assert [each.route.version for each in versions] == [5, 4, 3, 2, 1]
    assert [each.deleted for each in versions] == [False, False, True, False, False]
    assert [each.restored_version for each in versions] == [0, 1, 0, 0, 0]
    assert {each.route.updater for each in versions} == {"admin"}
    assert (versions[0].route, versions[1].route, versions[3].route) == (third, back, second)
    assert versions[4].route == first
    assert list(back.candidates) == [OPENAI]
    assert (list(back.tags), back.fallback_template) == (["eu"], "sorry")
    was = await staff.GetRoute(pb.GetRouteRequest(operation="draft", version=2))
    now = await staff.GetRoute(pb.GetRouteRequest(operation="draft"))
    assert (was.version, now.version) == (versions[3], versions[0])
    tagged = await staff.ListRoutes(pb.ListRoutesRequest(tag="eu"))
    listed = await staff.ListRoutes(pb.ListRoutesRequest())
    assert not tagged.routes
    assert third in listed.routes


async def test_a_rollback_is_in_force_when_it_returns(system: System) -> None:
    for candidate in (OPENAI, GOOGLE):
        await put(system, make_route(candidate))
    rollback = pb.RollbackRouteRequest(operation="draft", version=1)
    back = (await system.staff().RollbackRoute(rollback)).route

    assert (list(back.candidates), back.version) == ([OPENAI], 3)
    assert (await admit(system.backend(), make_call(operation="draft"))).candidate == OPENAI


async def test_what_there_is_not_is_not_found(system: System) -> None:
    staff = system.staff()

    async def reason(rpc: Any) -> str:
        return (await refusal(rpc)).reason

    assert await reason(staff.GetRoute(pb.GetRouteRequest(operation="x"))) == "OPERATION_NOT_FOUND"
    missing = pb.GetRouteRequest(operation="chat", version=9)
    assert await reason(staff.GetRoute(missing)) == "ROUTE_VERSION_NOT_FOUND"
    rollback = pb.RollbackRouteRequest(operation="chat", version=9)
    assert await reason(staff.RollbackRoute(rollback)) == "ROUTE_VERSION_NOT_FOUND"
    assert not (await staff.ListRouteVersions(pb.ListRouteVersionsRequest(operation="x"))).versions


async def test_of_two_editors_of_one_version_one_writes_and_the_other_hears_so(
    system: System,
) -> None:
    staff = system.staff()
    await put(system, make_route(OPENAI), expected_version=0)
    edits = [make_route(OPENAI, hold_seconds=seconds) for seconds in range(1, 9)]

    answers = await asyncio.gather(
        *(staff.PutRoute(pb.PutRouteRequest(route=edit, expected_version=1)) for edit in edits),
        return_exceptions=True,
    )

    written = [each for each in answers if isinstance(each, pb.PutRouteResponse)]
    assert len(written) == 1
    assert written[0].route.version == 2
    stale = await refusal(
        staff.PutRoute(pb.PutRouteRequest(route=make_route(GOOGLE), expected_version=1))
    )
    assert (stale.code, stale.reason) == ("FAILED_PRECONDITION", "ROUTE_CHANGED")
    assert stale.metadata == {"operation": "draft", "version": "2"}
    for request in (
        pb.DeleteRouteRequest(operation="draft", expected_version=1),
        pb.RollbackRouteRequest(operation="draft", version=1, expected_version=1),
    ):
        method = staff.DeleteRoute if "Delete" in type(request).__name__ else staff.RollbackRoute
        assert (await refusal(method(request))).reason == "ROUTE_CHANGED"
    # Whose change is there already lost nothing, whatever it expected.
    assert (await put(system, written[0].route, expected_version=1)).version == 2


async def test_candidates_without_a_price_are_refused_by_name(system: System) -> None:
    staff = system.staff()
    route = make_route(OPENAI, NOBODY, baseline_model=NOBODY)
    refused = await refusal(staff.PutRoute(pb.PutRouteRequest(route=route)))
    flat = price_pb2.ModelPrice(
        operation="draft",
        meters=[price_pb2.MeterPrice(meter=price_pb2.METER_CALL, nanos_per_million=10**12)],
    )

    assert refused.fields == ("route.candidates[1]", "route.baseline_model")
    # A price that was set a moment ago counts, on every gateway.
    await system.start("second")
    await staff.PutPrice(pb.PutPriceRequest(price=flat))
    await put(system, make_route(NOBODY, operation="draft"))
    for name in ("gateway", "second"):
        admitted = await admit(system.backend(at=name), make_call(operation="draft"))
        assert (admitted.candidate, admitted.held_nanos) == (NOBODY, 10**6)
    # What was rolled back to is checked again.
    await staff.DeletePrice(pb.DeletePriceRequest(operation="draft"))
    await put(system, make_route(OPENAI))
    rollback = pb.RollbackRouteRequest(operation="draft", version=1)
    refused = await refusal(staff.RollbackRoute(rollback))
    assert refused.fields == ("route.candidates[0]",)


async def test_users_stay_with_their_variant_on_every_gateway_and_fail_over_in_order(
    system: System,
) -> None:
    await system.start("second")
    await put(system, make_route(OPENAI, ANTHROPIC, GOOGLE, weights=[1, 1, 0]))
    backends = [system.backend(at=name) for name in ("gateway", "second")]
    variants: dict[str, call_pb2.Candidate] = {}
    for number in range(16):
        user = f"u-{number}"
        calls = [make_call(operation="draft", user=user) for _ in backends]
        found = [await admit(*pair) for pair in zip(backends, calls, strict=True)]
        assert found[0].candidate == found[1].candidate
        variants[user] = found[0].candidate
        others = [each for each in (OPENAI, ANTHROPIC) if each != variants[user]]
        left = [variants[user]]
        for expected in (*others, GOOGLE):
            again = make_call(operation="draft", user=user, excluded_candidates=left)
            assert (await admit(backends[0], again)).candidate == expected
            left.append(expected)

    assert {each.provider for each in variants.values()} == {"openai", "anthropic"}


@pytest.mark.parametrize("adaptive", [True, False])
async def test_adaptive_estimates_are_asked_for_by_the_route(
    system: System, adaptive: bool
) -> None:
    mode = gateway_pb2.ESTIMATE_MODE_ADAPTIVE if adaptive else gateway_pb2.ESTIMATE_MODE_STRICT
    await put(system, make_route(OPENAI, estimate_mode=mode, hold_seconds=60))
    # What calls of this kind used before: a tenth, at most.
    await system.fetch(
        "admission",
        "INSERT INTO share_bucket VALUES ('draft', 'openai', 'gpt-4o-mini', 10, 1000)",
    )
    await system.stop("admission")
    await system.start("admission")

    admitted = await admit(system.backend(), make_call(operation="draft"))
    strict = await admit(system.backend(), make_call(operation="summarize"))

    assert admitted.candidate == strict.candidate
    assert admitted.estimate_mode == mode
    if adaptive:
        assert admitted.held_nanos == -(-strict.held_nanos * 12 // 100)
    else:
        assert admitted.held_nanos == strict.held_nanos
    assert (admitted.expire_time.seconds - admitted.admit_time.seconds) in (59, 60, 61)


async def test_calls_save_what_the_baseline_would_have_cost_more(system: System) -> None:
    await put(system, make_route(GOOGLE, baseline_model=ANTHROPIC))
    paid = 0
    for operation in ("draft", "draft", "summarize"):
        admitted = await admit(system.backend(), make_call(operation=operation))
        paid = (await system.backend().CompleteCall(report(admitted))).receipt.total_nanos
        if operation == "draft":
            saved = BASELINE_NANOS - paid
    today = dt.datetime.now(dt.UTC).date()
    asked = pb.GetUsageRequest(
        start_day=(today - dt.timedelta(days=1)).isoformat(), end_day=today.isoformat(), org="acme"
    )
    for source in (usage_pb2.USAGE_SOURCE_LOG, usage_pb2.USAGE_SOURCE_ROLLUP):
        asked.source = source
        usage = await system.staff().GetUsage(asked)
        # The call without a baseline has saved nothing.
        assert usage.total.saved_nanos == 2 * saved > 0
        assert usage.total.cost_nanos == 2 * (BASELINE_NANOS - saved) + paid


async def test_viewers_read_and_editors_write(system: System) -> None:
    staff = system.staff()

    async def key(role: pb.Role.ValueType) -> str:
        request = pb.CreateApiKeyRequest(name="r", role=role)
        secret: str = (await staff.CreateApiKey(request)).secret
        return secret

    viewer = system.staff(await key(pb.ROLE_VIEWER))
    editor = system.staff(await key(pb.ROLE_EDITOR))
    rollback = pb.RollbackRouteRequest(operation="chat", version=1)

    await viewer.GetRoute(pb.GetRouteRequest(operation="chat"))
    await viewer.ListRouteVersions(pb.ListRouteVersionsRequest(operation="chat"))
    assert (await refusal(viewer.RollbackRoute(rollback))).code == "PERMISSION_DENIED"
    await editor.RollbackRoute(rollback)
    entries = (await staff.ListAuditEntries(pb.ListAuditEntriesRequest(page_size=1))).entries
    assert (entries[0].action, entries[0].target) == ("RollbackRoute", "route/chat")
    assert ADMIN_KEY not in str(entries)
