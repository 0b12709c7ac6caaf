"""The life of an API key: scopes, expiry, rotation, revocation on every gateway, last use."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

import asyncpg
import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from chassis import notifications
from gateway.auth import FRESH_SECONDS, POLL_SECONDS, KeyAuthenticator
from gateway.key_store import KeyStore
from gateway.staff.store import StaffStore
from gateway.store import SCHEMA, Store
from gateway.uses import Uses
from headgate.api.common.v1 import limit_pb2
from headgate.api.gateway.v1 import admin_pb2 as pb
from headgate.api.gateway.v1 import gateway_pb2
from tests.integration.gateway.system import (
    ACME_KEY,
    ADMIN_KEY,
    System,
    eventually,
    new_id,
    refusal,
)
from tests.integration.gateway.traffic import admit, make_call
from tests.schemas import runtime_url

STATUS: Final = gateway_pb2.GetStatusRequest()


async def create(system: System, **values: Any) -> pb.CreateApiKeyResponse:
    defaults: dict[str, Any] = {"name": "ci", "role": pb.ROLE_BACKEND, "orgs": ["acme"]}
    request = pb.CreateApiKeyRequest(**defaults | values)
    answer: pb.CreateApiKeyResponse = await system.staff().CreateApiKey(request)
    return answer


async def is_known(keyed: Any) -> bool:
    try:
        await keyed.GetStatus(STATUS)
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.UNAUTHENTICATED:
            raise
        return False
    return True


async def is_known_after_a_second(*keyed: Any) -> bool:
    """Whether any gateway still knows the key when the time is up that it may take."""
    await asyncio.sleep(1.0)
    return any([await is_known(each) for each in keyed])


async def test_a_revoked_key_is_refused_within_a_second_on_every_gateway(system: System) -> None:
    await system.start("gateway-2")
    created = await create(system)
    keyed = [system.backend(created.secret, at=name) for name in ("gateway", "gateway-2")]
    request = gateway_pb2.AdmitCallRequest(call_id=new_id(), operation="summarize")
    decisions = [(await each.AdmitCall(request)).decision for each in keyed]

    await system.staff().RevokeApiKey(pb.RevokeApiKeyRequest(key_id=created.api_key.key_id))

    assert not await is_known_after_a_second(*keyed)
    assert [each.admission.replayed for each in decisions] == [False, True]


async def test_without_notifications_the_poll_is_fast_enough(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifications, "listener", lambda settings, *, schema: None)
    await system.start("gateway-2")
    created = await create(system)
    keyed = system.backend(created.secret, at="gateway-2")
    assert await is_known(keyed)

    await system.staff().RevokeApiKey(pb.RevokeApiKeyRequest(key_id=created.api_key.key_id))

    assert not await is_known_after_a_second(keyed)
    assert POLL_SECONDS < FRESH_SECONDS < 1.0


async def test_a_lost_listener_comes_back(system: System) -> None:
    connection = await asyncpg.connect(system.url)
    ended = await connection.fetchval(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE application_name = 'headgate-gateway-listen' AND datname = current_database()"
    )

    async def is_back() -> bool:
        count = await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE application_name = 'headgate-gateway-listen' AND datname = current_database()"
        )
        return bool(count)

    await eventually(is_back)
    await connection.close()
    assert ended == 1


async def test_a_key_ends_when_it_was_to_end(system: System) -> None:
    # In whole microseconds, as the database keeps it.
    soon = Timestamp()
    soon.FromMicroseconds(time.time_ns() // 1_000 + 4_000_000)
    created = await create(system, expire_time=soon)
    keyed = system.backend(created.secret)
    assert await is_known(keyed)

    # This machine's clock is the database's.
    await asyncio.sleep(soon.ToNanoseconds() / 1e9 - time.time() + 0.01)
    assert not await is_known(keyed)
    listed = (await system.staff().ListApiKeys(pb.ListApiKeysRequest())).api_keys[0]
    assert listed.expire_time == soon
    rotation = await refusal(
        system.staff().RotateApiKey(pb.RotateApiKeyRequest(key_id=created.api_key.key_id))
    )
    assert (rotation.code, rotation.reason) == ("FAILED_PRECONDITION", "KEY_NOT_VALID")


async def test_a_key_makes_calls_only_for_its_operations(system: System) -> None:
    created = await create(system, operations=["summarize"])
    keyed = system.backend(created.secret)

    own = await admit(keyed, make_call())
    other = await refusal(keyed.AdmitCall(make_call(operation="chat")))
    members = await keyed.AdmitCalls(
        gateway_pb2.AdmitCallsRequest(
            calls=[make_call(operation="chat"), make_call(operation="summarize")]
        )
    )
    foreign = await admit(system.backend(ACME_KEY), make_call(operation="chat"))
    stolen = await refusal(
        keyed.ReleaseCall(gateway_pb2.ReleaseCallRequest(permit=foreign.permit))
    )

    assert own.permit
    assert (other.code, other.metadata) == ("PERMISSION_DENIED", {"operation": "chat"})
    assert [each.WhichOneof("decision") for each in members.decisions] == ["error", "admission"]
    assert stolen.code == "PERMISSION_DENIED"


async def test_a_key_has_limits_of_its_own(system: System) -> None:
    limited, free = [(await create(system)) for _ in range(2)]
    limit = limit_pb2.Limit(
        limit_id="one-key",
        scope={"api_key": limited.api_key.key_id},
        metric=limit_pb2.METRIC_CALLS,
        total=limit_pb2.TotalWindow(),
        cap=1,
    )
    await system.staff().PutLimit(pb.PutLimitRequest(limit=limit))

    def ask(created: pb.CreateApiKeyResponse) -> Any:
        request = gateway_pb2.AdmitCallRequest(call_id=new_id(), operation="summarize")
        return system.backend(created.secret).AdmitCall(request)

    first, second, other = [(await ask(each)).decision for each in (limited, limited, free)]

    assert [each.WhichOneof("decision") for each in (first, second, other)] == [
        "admission",
        "denial",
        "admission",
    ]
    assert {each.limit_id for each in second.denial.violations} == {"one-key"}


async def test_both_keys_work_until_the_overlap_ends(system: System) -> None:
    created = await create(system, operations=["summarize"])
    old = system.backend(created.secret)
    rotated = await system.staff().RotateApiKey(
        pb.RotateApiKeyRequest(key_id=created.api_key.key_id, overlap=Duration(seconds=2))
    )
    new = system.backend(rotated.secret)

    assert (await is_known(old), await is_known(new)) == (True, True)

    async def is_old_one_refused() -> bool:
        return not await is_known(old)

    await eventually(is_old_one_refused)
    assert await is_known(new)
    made = rotated.api_key
    assert (made.name, list(made.orgs), list(made.operations)) == ("ci", ["acme"], ["summarize"])
    assert made.replaces == created.api_key.key_id == rotated.replaced.key_id
    assert not made.HasField("expire_time")
    assert rotated.replaced.HasField("expire_time")


async def test_an_overlap_never_makes_a_key_live_longer(system: System) -> None:
    end = Timestamp()
    end.FromMicroseconds(time.time_ns() // 1_000 + 3_600_000_000)
    created = await create(system, expire_time=end)
    rotated = await system.staff().RotateApiKey(
        pb.RotateApiKeyRequest(key_id=created.api_key.key_id, overlap=Duration(seconds=86_400))
    )

    assert rotated.replaced.expire_time == end
    # As long as the old one was to live, from now on.
    assert rotated.api_key.expire_time.ToNanoseconds() > end.ToNanoseconds()
    assert await is_known(system.backend(rotated.secret))


async def test_no_overlap_ends_a_key_at_once(system: System) -> None:
    created = await create(system)
    old = system.backend(created.secret)
    assert await is_known(old)
    await system.staff().RotateApiKey(
        pb.RotateApiKeyRequest(key_id=created.api_key.key_id, overlap=Duration())
    )

    assert not await is_known_after_a_second(old)


async def test_staff_of_an_org_touch_the_keys_of_no_other(system: System) -> None:
    own = await create(system)
    other = await create(system, orgs=["globex"])
    shared = await create(system, orgs=["acme", "globex"])
    admin = await create(system, role=pb.ROLE_ADMIN)
    staff = system.staff(admin.secret)

    for key in (other, shared, await create(system, role=pb.ROLE_ADMIN, orgs=[])):
        for rpc in (
            staff.RevokeApiKey(pb.RevokeApiKeyRequest(key_id=key.api_key.key_id)),
            staff.RotateApiKey(pb.RotateApiKeyRequest(key_id=key.api_key.key_id)),
        ):
            assert (await refusal(rpc)).reason == "KEY_NOT_FOUND"
    listed = await staff.ListApiKeys(pb.ListApiKeysRequest(org="acme"))
    revoked = await staff.RevokeApiKey(pb.RevokeApiKeyRequest(key_id=own.api_key.key_id))

    assert {each.key_id for each in listed.api_keys} >= {
        own.api_key.key_id,
        shared.api_key.key_id,
        admin.api_key.key_id,
    }
    assert other.api_key.key_id not in {each.key_id for each in listed.api_keys}
    assert revoked.api_key.HasField("revoke_time")


async def test_the_last_use_is_written_once_a_minute_and_by_no_call(system: System) -> None:
    pool = await asyncpg.create_pool(
        runtime_url(system.url, SCHEMA), min_size=1, server_settings={"search_path": SCHEMA}
    )
    async with pool:
        keys, staff = KeyStore(Store(pool)), StaffStore(Store(pool), idle_seconds=300)
        authenticate = KeyAuthenticator(keys, staff)
        uses = Uses(authenticate, keys, staff)
        metadata = {"authorization": f"Bearer {ADMIN_KEY}"}
        method = "/headgate.api.gateway.v1.AdminService/ListRoutes"
        read = "SELECT key_id, use_time, xmin::text FROM api_key_use"

        await uses.flush()
        for _ in range(3):
            await authenticate(metadata, method)
        assert await pool.fetch(read) == []
        await uses.flush()
        (first,) = await pool.fetch(read)
        await authenticate(metadata, method)
        await uses.flush()
        (second,) = await pool.fetch(read)
        await pool.execute("UPDATE api_key_use SET use_time = use_time - interval '61 seconds'")
        authenticate.used = {"admin", "of-nobody"}
        await uses.flush()
        (third,) = await pool.fetch(read)

    listed = (await system.staff().ListApiKeys(pb.ListApiKeysRequest())).api_keys
    assert first == second
    assert (first["key_id"], third["use_time"] > second["use_time"]) == ("admin", True)
    assert {each.key_id for each in listed if each.HasField("last_use_time")} == {"admin"}


async def test_uses_are_written_in_the_background_and_may_be_lost(system: System) -> None:
    pool = await asyncpg.create_pool(
        runtime_url(system.url, SCHEMA), min_size=1, server_settings={"search_path": SCHEMA}
    )
    keys, staff = KeyStore(Store(pool)), StaffStore(Store(pool), idle_seconds=300)
    authenticate = KeyAuthenticator(keys, staff)
    uses = Uses(authenticate, keys, staff)
    authenticate.used = {"acme"}
    running = asyncio.create_task(uses.run(interval_seconds=0.01))

    async def is_written() -> bool:
        return bool(await pool.fetch("SELECT FROM api_key_use WHERE key_id = 'acme'"))

    await eventually(is_written)
    running.cancel()
    await pool.close()
    authenticate.used = {"acme"}
    await uses.flush()
    assert authenticate.used == set()
