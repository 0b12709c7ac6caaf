"""Toggles over the wire and in the database, which itself protects the guardrails."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import asyncpg
import grpc
import pytest

from headgate.api.health.v1 import health_pb2 as pb
from services.health.domain.toggles import GUARDRAILS
from tests.integration.health.replicas import (
    Replica,
    execute,
    fetch,
    serve_replica,
    settings_of,
)
from tests.integration.health.test_rpcs import refuse
from tests.integration.health.test_watch import next_change

PUT: Final = pb.PutToggleRequest(
    toggle_id="new-search", enabled=True, reason="trial", actor="ada", audit_id="a-1"
)


@pytest.fixture
async def replica(url: str) -> AsyncIterator[Replica]:
    async with serve_replica(settings_of(url)) as served:
        yield served


def put(**changed: Any) -> pb.PutToggleRequest:
    request = pb.PutToggleRequest()
    request.CopyFrom(PUT)
    for name, value in changed.items():
        setattr(request, name, value)
    return request


def delete(toggle_id: str, org: str = "") -> pb.DeleteToggleRequest:
    return pb.DeleteToggleRequest(
        toggle_id=toggle_id, org=org, reason="over", actor="bob", audit_id="a-2"
    )


async def test_what_comes_with_the_schema(replica: Replica) -> None:
    toggles = (await replica.stub.ListToggles(pb.ListTogglesRequest())).toggles

    assert [each.toggle_id for each in toggles] == [
        "ai-generation",
        "audit-trail",
        "auto-approval",
        "fail-closed",
        "notifications",
    ]
    assert {each.toggle_id for each in toggles if each.locked} == set(GUARDRAILS)
    assert all(each.enabled for each in toggles)


async def test_watchers_see_each_change_and_the_history_keeps_it(replica: Replica) -> None:
    stream = aiter(replica.stub.Watch(pb.WatchRequest()))
    assert len((await next_change(stream)).toggles) == 5
    await replica.stub.PutToggle(PUT)
    [made] = (await next_change(stream)).toggles
    await replica.stub.PutToggle(put(org="acme", enabled=False))
    [ruled] = (await next_change(stream)).toggles
    await replica.stub.PutToggle(put(org="acme", enabled=False))
    await replica.stub.DeleteToggle(delete("new-search", "acme"))
    [bare] = (await next_change(stream)).toggles
    await replica.stub.DeleteToggle(delete("new-search"))
    [gone] = (await next_change(stream)).toggles
    asked = pb.ListToggleChangesRequest(page_size=3, toggle_id="new-search")
    first = await replica.stub.ListToggleChanges(asked)
    asked.page_token = first.next_page_token
    rest = await replica.stub.ListToggleChanges(asked)

    assert (made.enabled, list(made.rules)) == (True, [])
    assert [(rule.org, rule.enabled) for rule in ruled.rules] == [("acme", False)]
    assert (list(bare.rules), gone.deleted) == ([], True)
    changes = [*first.changes, *rest.changes]
    values = [
        (
            each.org,
            each.before if each.HasField("before") else None,
            each.after if each.HasField("after") else None,
        )
        for each in changes
    ]
    assert values == [
        ("", True, None),
        ("acme", False, None),
        ("acme", None, False),
        ("", None, True),
    ]
    assert {(each.actor, each.reason) for each in changes} == {("ada", "trial"), ("bob", "over")}


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (put(toggle_id="fail-closed", enabled=False), "TOGGLE_LOCKED"),
        (put(toggle_id="fail-closed", org="acme"), "TOGGLE_LOCKED"),
        (delete("audit-trail"), "TOGGLE_LOCKED"),
        (delete("notifications"), "TOGGLE_LOCKED"),
        (put(toggle_id="unheard-of", org="acme"), "TOGGLE_NOT_FOUND"),
        (delete("unheard-of"), "TOGGLE_NOT_FOUND"),
    ],
)
async def test_what_is_locked_or_not_there_is_refused(
    replica: Replica, url: str, request_: Any, reason: str
) -> None:
    before = await fetch(url, "SELECT * FROM toggle ORDER BY toggle_id")
    method = type(request_).__name__.removesuffix("Request")

    error = await refuse(getattr(replica.stub, method)(request_))

    assert error.reason == reason
    assert await fetch(url, "SELECT * FROM toggle ORDER BY toggle_id") == before
    assert await fetch(url, "SELECT * FROM toggle_rule") == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("toggle_id", ""), ("toggle_id", "New Search"), ("org", "a b"), ("operation", "A")),
        *(("reason", ""), ("actor", ""), ("audit_id", ""), ("description", "x" * 1025)),
    ],
)
async def test_a_wrong_field_is_named(replica: Replica, field: str, value: str) -> None:
    error = await refuse(replica.stub.PutToggle(put(**{field: value})))

    assert error.code is grpc.StatusCode.INVALID_ARGUMENT
    assert [violation.field for violation in error.violations] == [field]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE toggle SET enabled = FALSE WHERE toggle_id = 'fail-closed'",
        "UPDATE toggle SET locked = FALSE WHERE toggle_id = 'fail-closed'",
        "UPDATE toggle SET locked = TRUE WHERE toggle_id = 'notifications'",
        "DELETE FROM toggle WHERE locked",
        "TRUNCATE toggle CASCADE",
        "INSERT INTO toggle VALUES ('x', '', TRUE, TRUE)",
        "INSERT INTO toggle_rule VALUES ('fail-closed', 'acme', '', FALSE)",
    ],
)
async def test_the_database_itself_protects_guardrails(url: str, statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await execute(url, statement)


async def test_a_schema_whose_guardrails_were_changed_is_not_served(url: str) -> None:
    await execute(
        url,
        "ALTER TABLE toggle DISABLE TRIGGER ALL;"
        "UPDATE toggle SET enabled = FALSE WHERE toggle_id = 'fail-closed'",
    )

    with pytest.raises(RuntimeError, match="fail-closed"):
        async with serve_replica(settings_of(url)):
            pass
