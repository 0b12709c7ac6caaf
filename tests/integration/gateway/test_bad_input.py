"""Each wrong field of each public RPC is refused by name, and nothing changes."""

from __future__ import annotations

from typing import Any, Final

import grpc
from google.protobuf.duration_pb2 import Duration

from headgate.api.common.v1 import call_pb2, limit_pb2, price_pb2, usage_pb2
from headgate.api.gateway.v1 import admin_pb2 as admin
from headgate.api.gateway.v1 import gateway_pb2 as pb
from tests.integration.gateway.system import ACME_KEY, System, new_id, refusal

ID: Final = "01890a5d-ac96-774b-bcce-b302099a8057"
LONG: Final = "x" * 2_000
HUGE: Final = Duration(seconds=10**11)
DAY: Final = limit_pb2.CalendarWindow(period=limit_pb2.CALENDAR_PERIOD_DAY)
OPENAI: Final = call_pb2.Candidate(provider="openai", model="gpt-4o-mini")

Case = tuple[Any, tuple[str, ...]]


def call(**values: Any) -> pb.AdmitCallRequest:
    defaults: dict[str, Any] = {"call_id": ID, "operation": "summarize"}
    return pb.AdmitCallRequest(**defaults | values)


def report(**values: Any) -> pb.CompleteCallRequest:
    defaults: dict[str, Any] = {"call_id": ID, "outcome": 1}
    return pb.CompleteCallRequest(**defaults | values)


def limit(**values: Any) -> admin.PutLimitRequest:
    defaults: dict[str, Any] = {
        "limit_id": "new",
        "scope": {"org": "acme"},
        "metric": limit_pb2.METRIC_COST,
        "calendar": DAY,
        "cap": 1,
    }
    return admin.PutLimitRequest(limit=limit_pb2.Limit(**defaults | values))


def window(**values: Any) -> limit_pb2.CalendarWindow:
    defaults: dict[str, Any] = {"period": limit_pb2.CALENDAR_PERIOD_DAY}
    return limit_pb2.CalendarWindow(**defaults | values)


def meter(number: int = price_pb2.METER_INPUT, nanos: int = 1) -> price_pb2.MeterPrice:
    return price_pb2.MeterPrice(meter=number, nanos_per_million=nanos)  # type: ignore[arg-type]  # wrong ones too


def price(**values: Any) -> admin.PutPriceRequest:
    defaults: dict[str, Any] = {
        "provider": "openai",
        "model": "gpt-4o-mini",
        "meters": [meter(), meter(price_pb2.METER_OUTPUT)],
    }
    return admin.PutPriceRequest(price=price_pb2.ModelPrice(**defaults | values))


def usage(**values: Any) -> admin.GetUsageRequest:
    days: dict[str, Any] = {"start_day": "2026-01-01", "end_day": "2026-01-02"}
    return admin.GetUsageRequest(**days | values)


CALLS: Final[dict[str, list[Case]]] = {
    "AdmitCall": [
        (pb.AdmitCallRequest(), ("call_id", "operation")),
        (call(call_id="1"), ("call_id",)),
        (call(org=LONG), ("org",)),
        (call(operation="No such"), ("operation",)),
        (call(operation=LONG), ("operation",)),
        (call(parent_call_id=ID), ("parent_call_id",)),
        (call(excluded_candidates=[OPENAI] * 5), ("excluded_candidates",)),
        (
            call(excluded_candidates=[call_pb2.Candidate()]),
            ("excluded_candidates[0].provider", "excluded_candidates[0].model"),
        ),
        (call(input_token_count=-1), ("input_token_count",)),
        (call(input_byte_count=-1), ("input_byte_count",)),
        (call(max_output_token_count=-1), ("max_output_token_count",)),
        (call(labels={"k": LONG}), ("labels['k']",)),
    ],
    "AdmitCalls": [
        (pb.AdmitCallsRequest(), ("calls",)),
        (pb.AdmitCallsRequest(calls=[call()] * 257), ("calls",)),
    ],
    "CompleteCall": [
        (pb.CompleteCallRequest(), ("call_id", "outcome")),
        (report(org=LONG), ("org",)),
        (report(outcome=77), ("outcome",)),
        (
            report(meters=call_pb2.UsageMeters(input_token_count=-1, reasoning_token_count=-1)),
            ("meters.input_token_count", "meters.reasoning_token_count"),
        ),
        (report(latency=Duration(seconds=-1)), ("latency",)),
        (report(error_type=LONG), ("error_type",)),
    ],
    "CompleteCalls": [
        (pb.CompleteCallsRequest(), ("calls",)),
        (pb.CompleteCallsRequest(calls=[report()] * 257), ("calls",)),
    ],
    "ReleaseCall": [
        (pb.ReleaseCallRequest(), ("call_id",)),
        (pb.ReleaseCallRequest(call_id=ID, org="*"), ("org",)),
    ],
}

PAGED: Final = (
    "ListApiKeys",
    "ListRoutes",
    "ListLimits",
    "ListCounters",
    "ListPrices",
    "ListAuditEntries",
)
STAFF: Final[dict[str, list[Case]]] = {
    "CreateApiKey": [(admin.CreateApiKeyRequest(), ("name", "role"))],
    "RevokeApiKey": [(admin.RevokeApiKeyRequest(), ("key_id",))],
    "PutRoute": [
        (admin.PutRouteRequest(), ("route.operation", "route.candidates")),
        (
            admin.PutRouteRequest(route=admin.Route(operation="x", candidates=[OPENAI] * 2)),
            ("route.candidates",),
        ),
    ],
    "DeleteRoute": [(admin.DeleteRouteRequest(), ("operation",))],
    "PutLimit": [
        (
            admin.PutLimitRequest(),
            ("limit.limit_id", "limit.metric", "limit.calendar"),
        ),
        (limit(limit_id="Not this"), ("limit.limit_id",)),
        (limit(limit_id=LONG), ("limit.limit_id",)),
        (limit(scope={"planet": "mars"}), ("limit.scope",)),
        (limit(scope={"org": ""}), ("limit.scope[org]",)),
        (limit(metric=9), ("limit.metric",)),
        (limit(calendar=window(period=9)), ("limit.calendar.period",)),
        (limit(calendar=window(time_zone="Mars/Base")), ("limit.calendar.time_zone",)),
        (limit(cap=-1), ("limit.cap",)),
        (limit(cap=10**18 + 1), ("limit.cap",)),
        (limit(owner=LONG), ("limit.owner",)),
    ],
    "DeleteLimit": [(admin.DeleteLimitRequest(limit_id="\x00"), ("limit_id",))],
    "PutPrice": [
        (admin.PutPriceRequest(), ("price.provider", "price.model", "price.meters")),
        (price(provider="Open AI"), ("price.provider",)),
        (price(org=LONG), ("price.org",)),
        (price(meters=[meter(), meter(99)]), ("price.meters[1].meter", "price.meters")),
        (
            price(meters=[meter(nanos=-1), meter(price_pb2.METER_OUTPUT)]),
            ("price.meters[0].nanos_per_million",),
        ),
    ],
    "DeletePrice": [(admin.DeletePriceRequest(), ("provider", "model"))],
    "ListPrices": [(admin.ListPricesRequest(provider="Open AI"), ("provider",))],
    "GetUsage": [
        (admin.GetUsageRequest(), ("start_day", "end_day")),
        (usage(start_day="yesterday"), ("start_day",)),
        (usage(end_day="2025-01-01"), ("end_day",)),
        (usage(end_day="2028-01-01"), ("end_day",)),
        (usage(org=LONG), ("org",)),
        (usage(group_by=[usage_pb2.USAGE_DIMENSION_UNSPECIFIED]), ("group_by[0]",)),
        (usage(source=9), ("source",)),
    ],
    "PrepareKill": [
        (admin.PrepareKillRequest(), ("reason",)),
        (admin.PrepareKillRequest(reason="why", scope={"moon": "full"}), ("scope",)),
    ],
    "Kill": [
        (admin.KillRequest(), ("reason",)),
        (admin.KillRequest(reason="why", message=LONG), ("message",)),
        (admin.KillRequest(reason="why", scope={"moon": "full"}), ("scope",)),
        (admin.KillRequest(reason="why", scope={"org": ""}), ("scope[org]",)),
        (admin.KillRequest(reason="why", expire_duration=HUGE), ("expire_duration",)),
        (admin.KillRequest(reason="why", confirmation_token=LONG), ("confirmation_token",)),
    ],
    "SetBreaker": [(admin.SetBreakerRequest(reason="why"), ("provider",))],
    "ListBreakerMoves": [(admin.ListBreakerMovesRequest(page_size=-1), ("page_size",))],
    "Resume": [(admin.ResumeRequest(reason=LONG), ("reason",))],
}


async def rows_of(system: System) -> dict[str, tuple[Any, ...]]:
    """Counts and newest rows of all tables, but of the audit log: it keeps failed attempts."""
    counts = {}
    for service in ("admission", "accounting", "health", "gateway"):
        tables = await system.fetch(
            service,
            "SELECT relname FROM pg_class WHERE relkind = 'r' "
            "AND relnamespace = current_schema()::regnamespace "
            "AND has_table_privilege(oid, 'SELECT')",
        )
        for (table,) in tables:
            if not table.startswith("audit_"):
                (row,) = await system.fetch(
                    service, f"SELECT count(*), max(xmin::text) FROM {table}"
                )
                counts[f"{service}.{table}"] = tuple(row)
    # The feed's reader and the gateway note that they live.
    counts.pop("admission.feed_cursor")
    counts.pop("gateway.route_reader")
    return counts


async def test_every_wrong_field_is_named_and_nothing_changes(system: System) -> None:
    before = await rows_of(system)
    found, expected = [], []
    for stub, cases in ((system.backend(), CALLS), (system.staff(), STAFF)):
        for method, members in cases.items():
            for request, fields in members:
                answer = await refusal(getattr(stub, method)(request))
                found.append((method, answer.code, answer.reason, answer.fields))
                expected.append((method, "INVALID_ARGUMENT", "INVALID_ARGUMENT", fields))

    assert found == expected
    assert await rows_of(system) == before


async def test_every_list_refuses_wrong_pages(system: System) -> None:
    staff = system.staff()
    found = {}
    for method in PAGED:
        request = getattr(admin, f"{method}Request")
        for values in ({"page_size": -1}, {"page_token": "made up"}, {"page_token": "€"}):
            answer = await refusal(getattr(staff, method)(request(**values)))
            found[method, str(values)] = (
                answer.code,
                answer.fields == tuple(name for name in values),
            )

    assert set(found.values()) == {("INVALID_ARGUMENT", True)}, found


async def test_what_is_not_there_is_not_found(system: System) -> None:
    staff, backend = system.staff(), system.backend()
    before = await rows_of(system)

    answers = [
        await refusal(backend.AdmitCall(call(operation="no-such"))),
        await refusal(staff.RevokeApiKey(admin.RevokeApiKeyRequest(key_id="nobody"))),
        await refusal(staff.DeleteRoute(admin.DeleteRouteRequest(operation="no-such"))),
        await refusal(staff.DeleteLimit(admin.DeleteLimitRequest(limit_id="no-such"))),
        await refusal(staff.DeletePrice(admin.DeletePriceRequest(provider="x", model="y"))),
        await refusal(staff.Resume(admin.ResumeRequest(reason="why not"))),
    ]

    assert {each.code for each in answers} == {"NOT_FOUND"}
    assert [each.reason for each in answers] == [
        "OPERATION_NOT_FOUND",
        "KEY_NOT_FOUND",
        "OPERATION_NOT_FOUND",
        "LIMIT_NOT_FOUND",
        "PRICE_NOT_FOUND",
        "KILL_NOT_FOUND",
    ]
    after = await rows_of(system)
    assert {name for name in before if before[name] != after[name]} == set()


async def test_bytes_that_are_no_message_and_no_text_are_refused(system: System) -> None:
    channel = system.channel()
    metadata = (("authorization", f"Bearer {ACME_KEY}"),)
    method: Any = channel.unary_unary("/headgate.api.gateway.v1.GatewayService/AdmitCall")
    good = call(call_id=new_id()).SerializeToString()

    for raw in (b"\xff\xff\xff", good.replace(b"summarize", b"summ\xff\xferize")):
        refused = await refusal(method(raw, metadata=metadata, timeout=5))
        assert (refused.code, refused.reason) == ("INVALID_ARGUMENT", "INVALID_ARGUMENT")
    no_method: Any = channel.unary_unary("/headgate.api.gateway.v1.GatewayService/NoSuch")
    refused = await refusal(no_method(b"", metadata=metadata, timeout=5))
    assert refused.code == grpc.StatusCode.UNIMPLEMENTED.name
