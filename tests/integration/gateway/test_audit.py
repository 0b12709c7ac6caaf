"""The audit log: a chain that nobody can rewrite, and outcomes that are found in the end."""

from __future__ import annotations

import asyncio
import json
import shutil
import uuid
from pathlib import Path
from typing import Any, Final

import asyncpg
import grpc
import pytest

from chassis.migrations import migrate
from chassis.provision import provision
from gateway.admin.open_entries import NEVER_STORED, OpenEntries
from gateway.admin.wire import render_record
from gateway.audit_store import AuditStore
from gateway.store import MIGRATIONS_DIRECTORY, SCHEMA, Store
from headgate.api.common.v1 import change_pb2, change_pb2_grpc
from headgate.api.gateway.v1 import admin_pb2 as pb
from headgate.api.gateway.v1 import admin_pb2_grpc
from headgate.channel import authorization
from headgate.cli import chain
from tests.integration.gateway.system import ADMIN_KEY, TOKEN, System, eventually, kill
from tests.integration.gateway.test_admin import LIMIT, entries, told_entries
from tests.postgres import ROLE_PASSWORD, Clone
from tests.schemas import owner_url, runtime_url

SERVICES: Final = ("admission", "accounting", "health")


class Changes:
    """A service's contract of changes, with the services' token."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = change_pb2_grpc.ChangeServiceStub(channel)

    async def FindChanges(  # noqa: N802 - the contract's name
        self, request: change_pb2.FindChangesRequest, timeout: float = 10.0
    ) -> change_pb2.FindChangesResponse:
        return await self._stub.FindChanges(
            request, timeout=timeout, metadata=authorization(TOKEN)
        )


def services(system: System) -> Any:
    return [Changes(system.channel(name)) for name in SERVICES]


async def records(system: System) -> list[pb.AuditRecord]:
    """The whole chain, read two at a time."""
    found: list[pb.AuditRecord] = []
    request = pb.ListAuditRecordsRequest(page_size=2)
    while True:
        page = await system.staff().ListAuditRecords(request)
        found.extend(page.records)
        if not page.next_page_token:
            assert page.unlinked_count == 0
            return found
        request.page_token = page.next_page_token


async def as_owner(url: str, *statements: str) -> None:
    """Does what only the owner of the schema can, past the triggers."""
    connection = await asyncpg.connect(owner_url(url, SCHEMA))
    await connection.execute(f"SET search_path TO {SCHEMA}")
    for table in ("audit_entry", "audit_outcome", "audit_link"):
        await connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    for statement in statements:
        await connection.execute(statement)
    for table in ("audit_entry", "audit_outcome", "audit_link"):
        await connection.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")
    await connection.close()


async def test_changes_at_once_make_one_chain_without_a_gap(system: System) -> None:
    staff = system.staff()
    await asyncio.gather(
        *(
            staff.CreateApiKey(pb.CreateApiKeyRequest(name=f"n{n}", role=pb.ROLE_ADMIN))
            for n in range(8)
        ),
        *(staff.PutLimit(pb.PutLimitRequest(limit=LIMIT)) for _ in range(4)),
    )
    found = await records(system)

    assert len(found) >= 24
    assert chain.verify(found) == found[-1].hash
    assert chain.verify(found, head=found[3].hash) == found[-1].hash
    kinds = [each.kind for each in found]
    assert kinds.count(pb.AUDIT_RECORD_KIND_INTENT) == len(found) // 2
    assert all(each.done for each in found if each.kind == pb.AUDIT_RECORD_KIND_OUTCOME)


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE audit_entry SET actor = 'somebody else'", "is not what was written"),
        ("UPDATE audit_entry SET reason = 'a better one'", "is not what was written"),
        ("UPDATE audit_outcome SET done = NOT done", "is not what was written"),
        ("UPDATE audit_outcome SET create_time = now()", "is not what was written"),
        ("UPDATE audit_link SET hash = sha256('x') WHERE position = 2", "record 2 is not"),
        ("DELETE FROM audit_link WHERE position = 2", "record 2 is missing"),
        (
            "DELETE FROM audit_link WHERE position > (SELECT max(position) - 2 FROM audit_link)",
            "the end was cut off",
        ),
    ],
)
async def test_whatever_the_owner_rewrites_is_found(
    system: System, statement: str, words: str
) -> None:
    kept = (await records(system))[-1].hash
    await as_owner(system.url, statement)

    with pytest.raises(chain.BrokenChainError, match=words):
        chain.verify(
            (
                await system.staff().ListAuditRecords(pb.ListAuditRecordsRequest(page_size=1_000))
            ).records,
            head=kept,
        )


async def test_what_was_slipped_in_past_the_chain_is_counted(system: System) -> None:
    await as_owner(
        system.url,
        "INSERT INTO audit_entry (actor, action, target, request_json)"
        " VALUES ('admin', 'Kill', 'kill/platform', '{}')",
    )

    page = await system.staff().ListAuditRecords(pb.ListAuditRecordsRequest(page_size=1_000))

    assert page.unlinked_count == 1
    chain.verify(page.records)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entry SET actor = 'x'",
        "DELETE FROM audit_entry",
        "UPDATE audit_outcome SET done = TRUE",
        "DELETE FROM audit_outcome",
        "UPDATE audit_link SET position = position + 1",
        "DELETE FROM audit_link",
        "INSERT INTO audit_link SELECT position + 1000, kind, audit_id, hash FROM audit_link",
        "ALTER TABLE audit_entry DISABLE TRIGGER USER",
    ],
)
async def test_the_servers_role_can_only_append(system: System, statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await system.fetch(SCHEMA, statement)


async def test_the_owner_is_refused_by_the_trigger(system: System) -> None:
    connection = await asyncpg.connect(owner_url(system.url, SCHEMA))
    for table in ("audit_entry", "audit_outcome", "audit_link"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
            await connection.execute(f"DELETE FROM {SCHEMA}.{table}")
    await connection.close()


async def test_what_was_there_before_the_chain_is_in_it(clone: Clone, tmp_path: Path) -> None:
    for file in sorted(MIGRATIONS_DIRECTORY.glob("*.sql"))[:3]:
        shutil.copy(file, tmp_path)

    async def build(url: str) -> None:
        await provision(
            url, name=SCHEMA, owner_password=ROLE_PASSWORD, runtime_password=ROLE_PASSWORD
        )
        await migrate(owner_url(url, SCHEMA), schema=SCHEMA, directory=tmp_path)
        connection = await asyncpg.connect(runtime_url(url, SCHEMA))
        for number in range(3):
            audit_id = await connection.fetchval(
                f"INSERT INTO {SCHEMA}.audit_entry (actor, action, target, request_json)"
                f" VALUES ('admin', 'PutRoute', 'route/é{number}', '{{}}') RETURNING audit_id"
            )
            if number:
                await connection.execute(
                    f"INSERT INTO {SCHEMA}.audit_outcome (audit_id, done, error)"
                    " VALUES ($1, $2, 'x')",
                    audit_id,
                    number == 1,
                )
        await connection.close()
        await migrate(owner_url(url, SCHEMA), schema=SCHEMA, directory=MIGRATIONS_DIRECTORY)

    url = await clone("gateway_before_the_chain", build)
    pool = await asyncpg.create_pool(
        runtime_url(url, SCHEMA), min_size=1, server_settings={"search_path": SCHEMA}
    )
    async with pool:
        audit = AuditStore(Store(pool))
        found = await audit.list_audit_records(above=0, count_max=100)
        assert await audit.count_unlinked() == 0

    assert [each.is_intent for each in found] == [True, True, False, True, False]
    chain.verify(map(render_record, found))


async def test_why_somebody_asks_is_on_the_log(system: System) -> None:
    stub = admin_pb2_grpc.AdminServiceStub(system.channel())
    why = (("headgate-reason-bin", "T-17: für später\n".encode()),)
    await stub.DeleteRoute(
        pb.DeleteRouteRequest(operation="chat"), metadata=(*authorization(ADMIN_KEY), *why)
    )
    await kill(system.staff(), reason="drill")

    assert [each.reason for each in await entries(system, 2)] == ["T-17: für später?", "drill"]


async def test_a_change_whose_answer_was_lost_is_found(system: System) -> None:
    await system.staff().PutLimit(pb.PutLimitRequest(limit=LIMIT))
    await kill(system.staff(), reason="drill")
    (put, stop) = await told_entries(system, 2)
    never = str(uuid.uuid4())
    # As if the gateway had been killed before it wrote the outcomes.
    await as_owner(
        system.url,
        f"DELETE FROM audit_link WHERE kind = 'outcome' AND audit_id IN "
        f"('{put.audit_id}', '{stop.audit_id}')",
        f"DELETE FROM audit_outcome WHERE audit_id IN ('{put.audit_id}', '{stop.audit_id}')",
        "UPDATE audit_entry SET create_time = now() - interval '3 minutes'",
        f"INSERT INTO audit_entry (audit_id, actor, action, target, request_json, create_time)"
        f" VALUES ('{never}', 'admin', 'PutLimit', 'limit/x', '{{}}',"
        " now() - interval '30 minutes')",
    )
    async with asyncpg.create_pool(
        runtime_url(system.url, SCHEMA), min_size=1, server_settings={"search_path": SCHEMA}
    ) as pool:
        open_entries = OpenEntries(Store(pool), services(system))
        assert await open_entries.close() == 2
        assert await open_entries.close() == 0
        await as_owner(
            system.url,
            f"UPDATE audit_entry SET create_time = now() - interval '61 minutes'"
            f" WHERE audit_id = '{never}'",
        )
        await system.stop("health")
        with pytest.raises(grpc.aio.AioRpcError):
            await open_entries.close()
        await system.start("health")
        running = asyncio.create_task(open_entries.run(interval_seconds=0.01))
        query = "SELECT FROM audit_outcome WHERE audit_id = $1"

        async def is_closed() -> bool:
            return bool(await pool.fetch(query, uuid.UUID(never)))

        await eventually(is_closed)
        running.cancel()

    found = {each.audit_id: each for each in await entries(system, 10)}
    assert found[put.audit_id].state == found[stop.audit_id].state == pb.AUDIT_STATE_DONE
    assert (found[never].state, found[never].error) == (pb.AUDIT_STATE_FAILED, NEVER_STORED)


async def test_the_services_know_what_was_before_and_after(system: System) -> None:
    staff = system.staff()
    await staff.PutLimit(pb.PutLimitRequest(limit=LIMIT))
    await staff.DeleteLimit(pb.DeleteLimitRequest(limit_id=LIMIT.limit_id))
    (put, delete) = await entries(system, 2)
    request = change_pb2.FindChangesRequest(audit_ids=[put.audit_id, delete.audit_id])
    answers = [await service.FindChanges(request) for service in services(system)]
    found = {each.audit_id: each for answer in answers for each in answer.changes}

    assert found[put.audit_id].before_json == ""
    for there in (found[put.audit_id].after_json, found[delete.audit_id].before_json):
        assert json.loads(there)["cap"] == LIMIT.cap
    assert found[delete.audit_id].after_json == ""
    for wrong in ([], ["x"] * 1_001, ["a\x00"]):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await services(system)[0].FindChanges(change_pb2.FindChangesRequest(audit_ids=wrong))
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
