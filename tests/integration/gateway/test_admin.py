"""What staff change, each with its entry in the audit log, failures included."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import asyncpg
import pytest

from headgate.api.common.v1 import call_pb2, limit_pb2, price_pb2
from headgate.api.gateway.v1 import admin_pb2 as pb
from headgate.api.gateway.v1 import gateway_pb2 as pb_calls
from tests.integration.gateway.system import System, eventually, kill, refusal
from tests.integration.gateway.traffic import admit, make_call
from tests.schemas import owner_url

GOOGLE = call_pb2.Candidate(provider="google", model="gemini-2.5-flash-lite")
LIMIT = limit_pb2.Limit(
    limit_id="acme-day",
    scope={"org": "acme"},
    metric=limit_pb2.METRIC_CALLS,
    calendar=limit_pb2.CalendarWindow(period=limit_pb2.CALENDAR_PERIOD_DAY),
    cap=5,
)
PRICE = price_pb2.ModelPrice(
    provider="acme-ai",
    model="own",
    meters=[
        price_pb2.MeterPrice(meter=price_pb2.METER_INPUT, nanos_per_million=1),
        price_pb2.MeterPrice(meter=price_pb2.METER_OUTPUT, nanos_per_million=2),
    ],
)
DONE, FAILED, INTENDED = pb.AUDIT_STATE_DONE, pb.AUDIT_STATE_FAILED, pb.AUDIT_STATE_INTENDED


async def entries(system: System, count: int) -> list[pb.AuditEntry]:
    """The newest entries, oldest first."""
    page = await system.staff().ListAuditEntries(pb.ListAuditEntriesRequest(page_size=count))
    return list(reversed(page.entries))


async def told_entries(system: System, count: int) -> list[pb.AuditEntry]:
    """The newest entries, oldest first, once all have outcomes: a kill answers before its own."""

    async def are_told() -> bool:
        return all(each.state != INTENDED for each in await entries(system, count))

    await eventually(are_told)
    return await entries(system, count)


async def pages(list_: Any, request: Any, field: str) -> list[Any]:
    """All rows of a list, read two at a time."""
    rows: list[Any] = []
    request.page_size = 2
    while True:
        page = await list_(request)
        assert len(getattr(page, field)) <= 2
        rows.extend(getattr(page, field))
        if not page.next_page_token:
            return rows
        request.page_token = page.next_page_token


async def test_every_change_leaves_an_entry_that_says_it_is_done(system: System) -> None:
    staff = system.staff()
    created = await staff.CreateApiKey(
        pb.CreateApiKeyRequest(name="ci", role=pb.ROLE_BACKEND, orgs=["acme"])
    )
    key_id = created.api_key.key_id
    await staff.RevokeApiKey(pb.RevokeApiKeyRequest(key_id=key_id))
    await staff.PutRoute(pb.PutRouteRequest(route=pb.Route(operation="x", candidates=[GOOGLE])))
    await staff.DeleteRoute(pb.DeleteRouteRequest(operation="x"))
    await staff.PutLimit(pb.PutLimitRequest(limit=LIMIT))
    await staff.DeleteLimit(pb.DeleteLimitRequest(limit_id="acme-day"))
    await staff.PutPrice(pb.PutPriceRequest(price=PRICE))
    await staff.DeletePrice(pb.DeletePriceRequest(provider="acme-ai", model="own"))
    await kill(staff, reason="drill", message="Soon.")
    await staff.Resume(pb.ResumeRequest(reason="over"))

    found = await told_entries(system, 10)

    assert [(each.action, each.target) for each in found] == [
        ("CreateApiKey", f"key/{key_id}"),
        ("RevokeApiKey", f"key/{key_id}"),
        ("PutRoute", "route/x"),
        ("DeleteRoute", "route/x"),
        ("PutLimit", "limit/acme-day"),
        ("DeleteLimit", "limit/acme-day"),
        ("PutPrice", "price/acme-ai/own"),
        ("DeletePrice", "price/acme-ai/own"),
        ("Kill", "kill/platform"),
        ("Resume", "kill/platform"),
    ]
    assert {(each.state, each.actor, each.error) for each in found} == {(DONE, "admin", "")}
    assert json.loads(found[8].request_json) == {"reason": "drill", "message": "Soon."}
    assert created.secret not in str(found)
    assert created.secret.rpartition("_")[2] not in str(found)


async def test_what_was_refused_leaves_an_entry_that_says_why(system: System) -> None:
    staff = system.staff()
    await staff.PutLimit(pb.PutLimitRequest(limit=LIMIT))
    twin = limit_pb2.Limit()
    twin.CopyFrom(LIMIT)
    twin.limit_id = "twin"

    await refusal(staff.RevokeApiKey(pb.RevokeApiKeyRequest(key_id="nobody")))
    await refusal(staff.DeleteRoute(pb.DeleteRouteRequest(operation="no-such")))
    await refusal(staff.PutLimit(pb.PutLimitRequest(limit=twin)))
    await refusal(staff.PutLimit(pb.PutLimitRequest()))
    await refusal(staff.DeleteLimit(pb.DeleteLimitRequest(limit_id="no-such")))
    await refusal(staff.PutPrice(pb.PutPriceRequest()))
    await refusal(staff.DeletePrice(pb.DeletePriceRequest(provider="x", model="y", org="acme")))
    await refusal(staff.Resume(pb.ResumeRequest(reason="over")))

    found = await entries(system, 8)

    assert [(each.target, each.error.split(":")[0]) for each in found] == [
        ("key/nobody", "KEY_NOT_FOUND"),
        ("route/no-such", "OPERATION_NOT_FOUND"),
        ("limit/twin", "LIMIT_EXISTS"),
        ("limit/", "INVALID_ARGUMENT"),
        ("limit/no-such", "LIMIT_NOT_FOUND"),
        ("price//", "INVALID_ARGUMENT"),
        ("price/x/y@acme", "PRICE_NOT_FOUND"),
        ("kill/platform", "KILL_NOT_FOUND"),
    ]
    assert {each.state for each in found} == {FAILED}


async def test_a_change_whose_answer_was_lost_stays_open(system: System) -> None:
    staff = system.staff()
    await system.stop("admission")

    refused = await refusal(staff.PutLimit(pb.PutLimitRequest(limit=LIMIT)))
    (entry,) = await entries(system, 1)

    assert (refused.code, refused.metadata) == ("UNAVAILABLE", {"peer": "admission"})
    assert (entry.target, entry.state, entry.error) == ("limit/acme-day", INTENDED, "")


async def test_services_store_the_entry_with_the_change(system: System) -> None:
    staff = system.staff()
    await staff.PutLimit(pb.PutLimitRequest(limit=LIMIT))
    await staff.PutPrice(pb.PutPriceRequest(price=PRICE))
    limit_entry, price_entry = await entries(system, 2)

    (limit_change,) = await system.fetch("admission", "SELECT * FROM change_log")
    (price_change,) = await system.fetch(
        "accounting", "SELECT * FROM change_log WHERE audit_id = $1", price_entry.audit_id
    )

    assert str(limit_change["audit_id"]) == limit_entry.audit_id
    assert price_change["target"]


async def test_a_change_ends_even_if_its_caller_goes_away(system: System) -> None:
    staff = system.staff()
    rpc = staff.CreateApiKey(
        pb.CreateApiKeyRequest(name="left", role=pb.ROLE_BACKEND, orgs=["acme"])
    )

    async def began() -> bool:
        locks = await system.fetch(
            "gateway", "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'INSERT INTO audit%'"
        )
        return bool(locks) or rpc.done()

    await eventually(began)
    rpc.cancel()

    async def is_closed() -> bool:
        (entry,) = await entries(system, 1)
        return entry.action == "CreateApiKey" and entry.state == DONE and entry.actor == "admin"

    await eventually(is_closed)


async def test_the_audit_log_cannot_be_rewritten_even_by_its_owner(system: System) -> None:
    connection = await asyncpg.connect(owner_url(system.url, "gateway"))
    try:
        for statement in (
            "UPDATE gateway.audit_entry SET actor = 'nobody'",
            "DELETE FROM gateway.audit_outcome",
            "TRUNCATE gateway.audit_entry CASCADE",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
                await connection.execute(statement)
    finally:
        await connection.close()


async def test_a_route_binds_soon_and_is_gone_soon(system: System) -> None:
    staff, backend = system.staff(), system.backend()
    facts: dict[str, Any] = {
        "operation": "translate",
        "candidates": [GOOGLE],
        "default_max_output_token_count": 7,
        "fallback_text": "Two\nlines.",
        "hold_seconds": 5,
    }
    stored = (await staff.PutRoute(pb.PutRouteRequest(route=pb.Route(**facts)))).route

    async def is_known() -> bool:
        call = pb_calls.AdmitCallsRequest(calls=[make_call(operation="translate")])
        (decision,) = (await backend.AdmitCalls(call)).decisions
        assert decision.error.reason in ("", "OPERATION_NOT_FOUND")
        return bool(decision.HasField("admission"))

    async def is_unknown() -> bool:
        return not await is_known()

    await eventually(is_known)
    request = make_call(operation="translate")
    request.ClearField("max_output_token_count")
    admission = await admit(backend, request)
    listed = (await staff.ListRoutes(pb.ListRoutesRequest())).routes
    await staff.DeleteRoute(pb.DeleteRouteRequest(operation="translate"))

    assert (stored.version, stored.updater) == (1, "admin")
    assert stored in listed
    assert pb.Route(**{name: getattr(stored, name) for name in facts}) == pb.Route(**facts)
    assert admission.candidate == GOOGLE
    assert admission.max_output_token_count == 7
    assert admission.fallback_text == "Two\nlines."
    assert admission.expire_time.seconds - admission.admit_time.seconds == 5
    await eventually(is_unknown)


async def test_lists_are_whole_over_their_pages(system: System) -> None:
    staff = system.staff()
    for name in ("a", "b"):
        await staff.PutRoute(
            pb.PutRouteRequest(route=pb.Route(operation=name, candidates=[GOOGLE]))
        )
    price = price_pb2.ModelPrice()
    price.CopyFrom(PRICE)
    for org in ("", "acme", "globex"):
        price.org = org
        await staff.PutPrice(pb.PutPriceRequest(price=price))
    await admit(system.backend(), make_call())

    routes = await pages(staff.ListRoutes, pb.ListRoutesRequest(), "routes")
    keys = await pages(staff.ListApiKeys, pb.ListApiKeysRequest(), "api_keys")
    limits = await pages(staff.ListLimits, pb.ListLimitsRequest(), "limits")
    prices = await pages(staff.ListPrices, pb.ListPricesRequest(provider="acme-ai"), "prices")
    counters = await pages(staff.ListCounters, pb.ListCountersRequest(org="acme"), "counters")
    log = await pages(staff.ListAuditEntries, pb.ListAuditEntriesRequest(), "entries")

    assert [each.operation for each in routes] == ["a", "b", "chat", "classify", "summarize"]
    assert [each.key_id for each in keys] == ["admin", "globex", "acme"]
    assert {each.role for each in keys} == {pb.ROLE_ADMIN, pb.ROLE_BACKEND}
    ids = [each.limit_id for each in limits]
    assert ids == sorted(ids)
    assert len(ids) > 2
    assert [each.org for each in prices] == ["", "acme", "globex"]
    assert counters
    assert {each.scope["org"] for each in counters} == {"acme"}
    # Three prices and two routes, before them what bootstrap did.
    assert [each.action for each in log][:5] == ["PutPrice"] * 3 + ["PutRoute"] * 2
    assert len(log) == 5 + 6


async def test_a_repeated_change_is_harmless(system: System) -> None:
    staff = system.staff()
    first = await staff.PutLimit(pb.PutLimitRequest(limit=LIMIT))
    again = await staff.PutLimit(pb.PutLimitRequest(limit=LIMIT))
    created = await staff.CreateApiKey(
        pb.CreateApiKeyRequest(name="ci", role=pb.ROLE_BACKEND, orgs=["acme"])
    )
    revoke = pb.RevokeApiKeyRequest(key_id=created.api_key.key_id)
    revoked = [(await staff.RevokeApiKey(revoke)).api_key for _ in range(2)]
    kills = [(await kill(staff, reason="drill")).kill for _ in range(2)]

    versions = [each.limit.version for each in (first, again)]
    for each in (first, again):
        each.limit.ClearField("version")
    assert first.limit == again.limit == LIMIT_STORED
    assert versions == sorted(set(versions))
    assert revoked[0] == revoked[1]
    assert revoked[0].HasField("revoke_time")
    assert {each.state for each in kills} == {kills[0].state}
    assert kills[0].actor == "admin"
    await staff.Resume(pb.ResumeRequest(reason="over"))
    await asyncio.gather(*(kill(staff, reason="all") for _ in range(3)))


LIMIT_STORED = limit_pb2.Limit()
LIMIT_STORED.CopyFrom(LIMIT)
LIMIT_STORED.mode = limit_pb2.LIMIT_MODE_ENFORCE
LIMIT_STORED.alert_percents.extend((50, 80, 100))
LIMIT_STORED.calendar.time_zone = "UTC"
