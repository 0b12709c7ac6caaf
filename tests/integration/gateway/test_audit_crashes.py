"""A gateway dies between what staff asked for and what became of it: the log finds the truth."""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import Any, Final

import asyncpg
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from gateway.admin.open_entries import NEVER_STORED, OUTCOME_UNKNOWN, OpenEntries
from gateway.store import SCHEMA, Store
from headgate.api.common.v1 import (
    book_pb2,
    call_pb2,
    change_pb2,
    channel_pb2,
    health_pb2,
)
from headgate.api.gateway.v1 import (
    admin_pb2,
    admin_pb2_grpc,
    alert_admin_pb2,
    alert_admin_pb2_grpc,
    book_admin_pb2,
    book_admin_pb2_grpc,
    channel_admin_pb2,
    channel_admin_pb2_grpc,
)
from tests.integration.gateway.system import ADMIN_KEY, Keyed, System, eventually, kill
from tests.integration.gateway.test_admin import LIMIT, PRICE, entries, told_entries
from tests.integration.gateway.test_audit import as_owner, services
from tests.integration.gateway.test_process import environment, run
from tests.schemas import owner_url, runtime_url

CHANNEL: Final = channel_pb2.Channel(
    channel_id="oncall", kind=channel_pb2.CHANNEL_KIND_WEBHOOK, url="http://127.0.0.1:1/hook"
)
CALL_ID: Final = str(uuid.uuid4())
MUTE_ID: Final = str(uuid.uuid4())


def at(system: System, gateway: str) -> dict[str, Keyed]:
    """The staff's services of a gateway."""
    channel = system.channel(gateway)
    stubs: dict[str, Any] = {
        "admin": admin_pb2_grpc.AdminServiceStub(channel),
        "alerts": alert_admin_pb2_grpc.AlertAdminServiceStub(channel),
        "books": book_admin_pb2_grpc.BookAdminServiceStub(channel),
        "channels": channel_admin_pb2_grpc.ChannelAdminServiceStub(channel),
    }
    return {name: Keyed(stub, ADMIN_KEY) for name, stub in stubs.items()}


async def prepare(system: System) -> None:
    """Makes what the orders are about."""
    to = at(system, "gateway")
    await to["channels"].PutChannel(channel_admin_pb2.PutChannelRequest(channel=CHANNEL))
    await to["alerts"].CreateAlertMute(
        alert_admin_pb2.CreateAlertMuteRequest(
            mute_id=MUTE_ID, duration=Duration(seconds=60), reason="deploy"
        )
    )
    use_time = Timestamp()
    use_time.GetCurrentTime()
    usage = book_pb2.ManualUsage(
        call_id=CALL_ID,
        org="acme",
        operation="batch",
        candidate=call_pb2.Candidate(provider="openai", model="gpt-4o-mini"),
        use_time=use_time,
        note="ran elsewhere",
        total_nanos=100,
    )
    await to["books"].RecordManualUsage(book_admin_pb2.RecordManualUsageRequest(usage=usage))


async def orders(to: dict[str, Keyed]) -> list[Awaitable[Any]]:
    """A change of each kind that a service keeps."""
    kill: dict[str, Any] = {"reason": "drill", "scope": {"org": "globex"}}
    prepared = await to["admin"].PrepareKill(admin_pb2.PrepareKillRequest(**kill))
    name = CHANNEL.channel_id
    return [
        to["admin"].PutLimit(admin_pb2.PutLimitRequest(limit=LIMIT)),
        to["admin"].PutPrice(admin_pb2.PutPriceRequest(price=PRICE)),
        to["admin"].Kill(
            admin_pb2.KillRequest(**kill, confirmation_token=prepared.confirmation_token)
        ),
        to["admin"].SetBreaker(
            admin_pb2.SetBreakerRequest(
                provider="openai", override=health_pb2.BREAKER_OVERRIDE_OPEN, reason="drill"
            )
        ),
        to["admin"].PutToggle(
            admin_pb2.PutToggleRequest(toggle_id="ai-generation", org="globex", reason="drill")
        ),
        to["alerts"].DeleteAlertMute(alert_admin_pb2.DeleteAlertMuteRequest(mute_id=MUTE_ID)),
        to["books"].AdjustUsage(
            book_admin_pb2.AdjustUsageRequest(
                org="acme", call_id=CALL_ID, delta_nanos=-1, note="credit"
            )
        ),
        to["channels"].TestChannel(channel_admin_pb2.TestChannelRequest(channel_id=name)),
        to["channels"].ReplayDeliveries(
            channel_admin_pb2.ReplayDeliveriesRequest(channel_id=name)
        ),
    ]


@contextlib.asynccontextmanager
async def no_outcomes(system: System) -> AsyncIterator[None]:
    """Nobody writes an outcome meanwhile."""
    connection = await asyncpg.connect(owner_url(system.url, SCHEMA))
    async with connection.transaction():
        await connection.execute(f"LOCK TABLE {SCHEMA}.audit_outcome IN EXCLUSIVE MODE")
        yield
    await connection.close()


async def open_ids(system: System) -> list[str]:
    found = await system.fetch(
        SCHEMA,
        "SELECT audit_id::text FROM audit_entry"
        " WHERE audit_id NOT IN (SELECT audit_id FROM audit_outcome)",
    )
    return [row["audit_id"] for row in found]


async def crash(
    system: System,
    sent: Sequence[Awaitable[Any]],
    process: asyncio.subprocess.Process,
    stored: int,
) -> None:
    """Sends to a gateway, which dies when so many changes are stored and none is told of."""
    running = [asyncio.ensure_future(each) for each in sent]

    async def are_stored() -> bool:
        ids = await open_ids(system)
        if len(ids) < len(sent):
            return False
        request = change_pb2.FindChangesRequest(audit_ids=ids)
        answers = [await each.FindChanges(request) for each in services(system)] if stored else []
        return len({change.audit_id for one in answers for change in one.changes}) == stored

    await eventually(are_stored)
    process.kill()
    await process.wait()
    await asyncio.gather(*running, return_exceptions=True)


async def test_a_kill_is_answered_while_its_outcome_is_being_written(system: System) -> None:
    async with no_outcomes(system):
        await kill(system.staff(), reason="drill")
        [entry] = await entries(system, 1)
        assert entry.state == admin_pb2.AUDIT_STATE_INTENDED

    [entry] = await told_entries(system, 1)
    assert entry.state == admin_pb2.AUDIT_STATE_DONE


async def start_gateway(system: System) -> asyncio.subprocess.Process:
    process = await run("serve", env=environment(system))
    assert process.stdout is not None
    system.addresses["doomed"] = json.loads(await process.stdout.readline())["address"]
    return process


async def close_entries(system: System, age: str) -> int:
    """Closes what can be closed, as if so much time had passed."""
    await as_owner(
        system.url,
        f"UPDATE audit_entry SET create_time = now() - interval '{age}'"
        " WHERE audit_id NOT IN (SELECT audit_id FROM audit_outcome)",
    )
    async with asyncpg.create_pool(
        runtime_url(system.url, SCHEMA), min_size=1, server_settings={"search_path": SCHEMA}
    ) as pool:
        return await OpenEntries(Store(pool), services(system)).close()


async def test_what_a_killed_gateway_had_done_is_found_done(system: System) -> None:
    await prepare(system)
    process = await start_gateway(system)
    sent = await orders(at(system, "doomed"))

    async with no_outcomes(system):
        await crash(system, sent, process, len(sent))
    lost = set(await open_ids(system))
    closed = await close_entries(system, "3 minutes")

    found = [each for each in await entries(system, 50) if each.audit_id in lost]
    assert closed == len(lost) == len(sent)
    assert {each.state for each in found} == {admin_pb2.AUDIT_STATE_DONE}
    assert len({each.action for each in found}) == len(sent)


def unreachable(to: dict[str, Keyed], service: str) -> list[Awaitable[Any]]:
    """Changes that a service is asked for."""
    if service == "admission":
        return [to["admin"].PutLimit(admin_pb2.PutLimitRequest(limit=LIMIT))]
    if service == "accounting":
        replay = channel_admin_pb2.ReplayDeliveriesRequest(channel_id=CHANNEL.channel_id)
        bill = book_admin_pb2.ReconcileBillRequest(
            provider="openai",
            content=b"day,cost,currency,model\n",
            format=book_pb2.BILL_FORMAT_CSV,
        )
        return [to["channels"].ReplayDeliveries(replay), to["books"].ReconcileBill(bill)]
    breaker = admin_pb2.SetBreakerRequest(provider="openai", reason="drill")
    toggle = admin_pb2.PutToggleRequest(toggle_id="ai-generation", org="acme", reason="drill")
    return [to["admin"].SetBreaker(breaker), to["admin"].PutToggle(toggle)]


@pytest.mark.parametrize("service", ["admission", "accounting", "health"])
async def test_what_never_reached_its_service_is_never_called_done(
    system: System, service: str
) -> None:
    await prepare(system)
    process = await start_gateway(system)
    to = at(system, "doomed")
    await system.stop(service)
    sent = unreachable(to, service)

    await crash(system, sent, process, 0)
    await system.start(service)
    assert await close_entries(system, "30 minutes") == 0
    assert await close_entries(system, "61 minutes") == len(sent)

    found = await entries(system, len(sent))
    states = {each.action: (each.state, each.error) for each in found}
    never = (admin_pb2.AUDIT_STATE_FAILED, NEVER_STORED)
    unknown = (admin_pb2.AUDIT_STATE_UNKNOWN, OUTCOME_UNKNOWN)
    assert (
        states
        == {
            "admission": {"PutLimit": never},
            "accounting": {"ReplayDeliveries": never, "ReconcileBill": unknown},
            "health": {"SetBreaker": never, "PutToggle": unknown},
        }[service]
    )
