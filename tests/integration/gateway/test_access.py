"""Who may do what, over the wire: every method of both services, with every kind of key."""

from __future__ import annotations

import time
from typing import Any

import grpc

from headgate.api.gateway.v1 import admin_pb2, admin_pb2_grpc, gateway_pb2, gateway_pb2_grpc
from tests.integration.gateway.system import (
    ACME_KEY,
    ADMIN_KEY,
    Keyed,
    System,
    eventually,
    new_id,
    refusal,
)

BACKEND = gateway_pb2.DESCRIPTOR.services_by_name["GatewayService"].methods_by_name
STAFF = admin_pb2.DESCRIPTOR.services_by_name["AdminService"].methods_by_name
UNKNOWN_KEY = "hg_nobody_" + "N" * 43


def request_of(method: str) -> Any:
    return getattr(gateway_pb2 if method in BACKEND else admin_pb2, f"{method}Request")()


async def refusals(stub: Any, methods: Any, metadata: Any) -> dict[str, tuple[str, str]]:
    found = {}
    for method in methods:
        answer = await refusal(
            getattr(stub, method)(request_of(method), metadata=metadata, timeout=5)
        )
        found[method] = (answer.code, answer.reason)
    return found


async def test_without_a_key_that_we_know_nothing_is_served(system: System) -> None:
    channel = system.channel()
    stubs = (
        (gateway_pb2_grpc.GatewayServiceStub(channel), BACKEND),
        (admin_pb2_grpc.AdminServiceStub(channel), STAFF),
    )
    headers = [
        (),
        (("authorization", f"Bearer {UNKNOWN_KEY}"),),
        (("authorization", f"Bearer {ACME_KEY[:-1]}X"),),
        (("authorization", f"Basic {ACME_KEY}"),),
    ]

    for stub, methods in stubs:
        for header in headers:
            found = await refusals(stub, methods, header)
            assert set(found.values()) == {("UNAUTHENTICATED", "UNAUTHENTICATED")}, (header, found)


async def test_each_role_has_its_service_and_both_the_status(system: System) -> None:
    channel = system.channel()
    backend = gateway_pb2_grpc.GatewayServiceStub(channel)
    staff = admin_pb2_grpc.AdminServiceStub(channel)
    admin = (("authorization", f"Bearer {ADMIN_KEY}"),)
    calls = [method for method in BACKEND if method != "GetStatus"]
    acme = (("authorization", f"Bearer {ACME_KEY}"),)

    by_admin = await refusals(backend, calls, admin)
    by_backend = await refusals(staff, STAFF, acme)
    statuses = [
        await backend.GetStatus(gateway_pb2.GetStatusRequest(), metadata=each, timeout=5)
        for each in (acme, admin)
    ]

    assert set(by_admin.values()) == {("PERMISSION_DENIED", "PERMISSION_DENIED")}
    assert set(by_backend.values()) == {("PERMISSION_DENIED", "PERMISSION_DENIED")}
    assert {each.state for each in statuses} == {gateway_pb2.SERVICE_STATE_HEALTHY}


async def test_a_new_key_works_at_once_and_a_revoked_one_stops_within_two_seconds(
    system: System,
) -> None:
    await system.start("gateway-2")
    staff = system.staff()
    created = await staff.CreateApiKey(
        admin_pb2.CreateApiKeyRequest(name="ci", role=admin_pb2.ROLE_BACKEND, orgs=["acme"])
    )
    stubs = [
        gateway_pb2_grpc.GatewayServiceStub(system.channel(name))
        for name in ("gateway", "gateway-2")
    ]
    keyed = [Keyed(stub, created.secret) for stub in stubs]
    request = gateway_pb2.AdmitCallRequest(call_id=new_id(), operation="summarize")
    decisions = [(await each.AdmitCall(request)).decision for each in keyed]

    await staff.RevokeApiKey(admin_pb2.RevokeApiKeyRequest(key_id=created.api_key.key_id))
    revoked_at = time.monotonic()

    async def is_refused_everywhere() -> bool:
        codes = []
        for each in keyed:
            try:
                await each.GetStatus(gateway_pb2.GetStatusRequest())
                codes.append(grpc.StatusCode.OK)
            except grpc.aio.AioRpcError as error:
                codes.append(error.code())
        return set(codes) == {grpc.StatusCode.UNAUTHENTICATED}

    await eventually(is_refused_everywhere)
    assert time.monotonic() - revoked_at < 2.5
    assert [each.admission.replayed for each in decisions] == [False, True]
