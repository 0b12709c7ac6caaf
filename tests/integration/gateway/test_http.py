"""The RPCs as HTTP and JSON, by a real client."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from openapi_spec_validator import validate

from tests.integration.gateway.system import ACME_KEY, ADMIN_KEY, System

LIMIT = {
    "scope": {"org": "acme"},
    "metric": "METRIC_CALLS",
    "calendar": {"period": "CALENDAR_PERIOD_DAY", "timeZone": "UTC"},
    "cap": "3",
}


def client(web: str, key: str) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(base_url=web, headers={"authorization": f"Bearer {key}"})


@pytest_asyncio.fixture
async def staff(web: str) -> AsyncIterator[httpx2.AsyncClient]:
    async with client(web, ADMIN_KEY) as http:
        yield http


@pytest_asyncio.fixture
async def backend(web: str) -> AsyncIterator[httpx2.AsyncClient]:
    async with client(web, ACME_KEY) as http:
        yield http


def call(**more: Any) -> dict[str, Any]:
    return {
        "callId": str(uuid.uuid4()),
        "org": "acme",
        "operation": "chat",
        "inputTokenCount": "100",
    } | more


async def test_a_call_is_admitted_completed_and_found_in_the_usage(
    backend: httpx2.AsyncClient, staff: httpx2.AsyncClient
) -> None:
    asked = call()
    admitted = (await backend.post("/v1/calls:admit", json=asked)).json()["decision"]
    permit = admitted["admission"]["permit"]
    completed = await backend.post(
        "/v1/calls:complete",
        json={
            "permit": permit,
            "org": "acme",
            "callId": asked["callId"],
            "outcome": "CALL_OUTCOME_SUCCEEDED",
            "meters": {"inputTokenCount": "100", "outputTokenCount": "20"},
        },
    )
    today = dt.datetime.now(dt.UTC).date().isoformat()
    asked_for = {
        "org": "acme",
        "startDay": today,
        "endDay": today,
        "groupBy": "USAGE_DIMENSION_MODEL",
    }
    usage = await staff.get("/v1/usage", params=asked_for)

    assert completed.status_code == 200, completed.text
    assert usage.status_code == 200, usage.text
    assert usage.json()["total"]["callCount"] == "1"
    assert usage.headers["cache-control"] == "no-store"


async def test_staff_write_list_and_delete_what_binds_the_next_call(
    staff: httpx2.AsyncClient, backend: httpx2.AsyncClient
) -> None:
    put = await staff.put("/v1/limits/acme-day", json={**LIMIT, "cap": "0"})
    denied = (await backend.post("/v1/calls:admit", json=call())).json()["decision"]
    listed = (await staff.get("/v1/limits", params={"pageSize": 10})).json()
    deleted = await staff.delete("/v1/limits/acme-day")
    admitted = (await backend.post("/v1/calls:admit", json=call())).json()["decision"]

    assert put.json()["limit"]["limitId"] == "acme-day"
    assert denied["denial"]["violations"][0]["limitId"] == "acme-day"
    assert "acme-day" in [each["limitId"] for each in listed["limits"]]
    assert deleted.status_code == 200
    assert "admission" in admitted


async def test_why_is_kept_in_the_audit(staff: httpx2.AsyncClient) -> None:
    why = "Größe geprüft".encode()
    await staff.put("/v1/limits/a", json=LIMIT, headers={b"headgate-reason": why})
    entries = (await staff.get("/v1/auditEntries")).json()["entries"]

    assert entries[0]["reason"] == "Größe geprüft"
    assert entries[0]["state"] == "AUDIT_STATE_DONE"


@pytest.mark.parametrize(
    ("verb", "path", "sent", "field"),
    [
        ("PUT", "/v1/limits/a", {"json": {**LIMIT, "cap": "-1"}}, "limit.cap"),
        ("PUT", "/v1/limits/a", {"json": {**LIMIT, "cap": "x"}}, "limit.cap"),
        ("PUT", "/v1/limits/a", {"json": {**LIMIT, "cap": 10**30}}, "limit.cap"),
        ("PUT", "/v1/limits/a", {"json": {**LIMIT, "cap": 1e300}}, "limit.cap"),
        ("PUT", "/v1/limits/a", {"json": {**LIMIT, "caps": "1"}}, "limit.caps"),
        ("PUT", "/v1/limits/a", {"json": {**LIMIT, "limitId": "b"}}, "limit.limit_id"),
        ("PUT", "/v1/limits/a", {"json": {**LIMIT, "metric": "M"}}, "limit.metric"),
        ("GET", "/v1/usage", {"params": {"orgs": "a"}}, "orgs"),
        ("GET", "/v1/usage", {"params": {"pageSize": "9e99"}}, "page_size"),
        ("GET", "/v1/usage", {"params": [("org", "a"), ("org", "b")]}, "org"),
        ("GET", "/v1/usage", {"params": {"filter": "{}"}}, "filter"),
        ("GET", "/v1/alerts", {"params": {"resolvedToo": "1"}}, "resolvedToo"),
        ("GET", "/v1/alerts", {"content": b"{}"}, ""),
        ("POST", "/v1/kills", {"params": {"reason": "x"}}, "reason"),
        ("POST", "/v1/kills", {"json": {"reason": {"a": 1}}}, "reason"),
        ("POST", "/v1/kills", {"json": [1]}, ""),
    ],
)
async def test_a_wrong_field_is_named_and_nothing_changes(
    staff: httpx2.AsyncClient, verb: str, path: str, sent: dict[str, Any], field: str
) -> None:
    before = (await staff.get("/v1/limits")).json()
    answer = await staff.request(verb, path, **sent)
    after = (await staff.get("/v1/limits")).json()

    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["reason"] == "INVALID_ARGUMENT"
    assert field in [each["field"] for each in answer.json()["violations"]]
    assert after == before


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b'{"reason": NaN}', "application/json", 400),
        (b'{"reason": "a", "reason": "b"}', "application/json", 400),
        (b'{"reason": "\xff"}', "application/json", 400),
        (b'{"reason": "\\ud800"}', "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b'{"scope":' * 100_000, "application/json", 400),
        (b"{}", "text/plain", 415),
        (b"{}", "", 415),
        (b"reason=x", "application/x-www-form-urlencoded", 415),
        (b" " * (8 * 1024 * 1024 + 1), "application/json", 413),
    ],
)
async def test_a_body_that_is_no_json_of_ours_is_refused(
    staff: httpx2.AsyncClient, body: bytes, kind: str, status: int
) -> None:
    headers = {"content-type": kind} if kind else {}
    answer = await staff.post("/v1/kills:prepare", content=body, headers=headers)

    assert answer.status_code == status, answer.text
    assert answer.json()["status"] == status


@pytest.mark.parametrize(
    "shown", ["", "Bearer x", "Basic abc", f"Bearer {ADMIN_KEY}x", "Bearer \xe9"]
)
async def test_nobody_without_a_key_gets_in(web: str, shown: str) -> None:
    async with httpx2.AsyncClient(base_url=web) as http:
        headers = {b"authorization": shown.encode("latin-1")}
        answer = await http.get("/v1/limits", headers=headers)

    assert answer.status_code in (400, 401)
    assert answer.status_code == 400 or answer.headers["www-authenticate"] == "Bearer"


async def test_a_backend_may_not_do_what_staff_may(backend: httpx2.AsyncClient) -> None:
    answer = await backend.put("/v1/limits/a", json=LIMIT)

    assert (answer.status_code, answer.json()["code"]) == (403, "PERMISSION_DENIED")


@pytest.mark.parametrize(
    ("verb", "path", "status"),
    [
        ("GET", "/v1/nothing", 404),
        ("GET", "/v1/", 404),
        ("GET", "/v1/limits/../apiKeys", 404),
        ("GET", "/v1/limits/%2e%2e/apiKeys", 404),
        ("DELETE", "/v1/limits/a%2Fb", 404),
        ("GET", "//v1//limits", 404),
        ("GET", "/v1/limits/", 404),
        ("PATCH", "/v1/limits/a", 405),
        ("DELETE", "/v1/limits", 405),
        ("TRACE", "/v1/limits", 405),
    ],
)
async def test_what_is_not_there_is_a_problem_too(
    web: str, verb: str, path: str, status: int
) -> None:
    host, _, port = web.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"{verb} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")

    assert head.split()[1] == str(status).encode(), answer
    assert b"application/problem+json" in head
    assert json.loads(body)["status"] == status


@pytest.mark.parametrize("name", ["%00", "a%0D%0ASet-Cookie:%20a=b", "a" * 5_000])
async def test_a_name_that_nothing_can_have_is_refused(
    staff: httpx2.AsyncClient, name: str
) -> None:
    answer = await staff.get(f"/v1/limits/{name}")

    assert answer.status_code == 400, answer.text
    assert answer.json()["violations"][0]["field"] == "limit_id"
    assert "set-cookie" not in answer.headers


async def test_a_missing_thing_and_a_service_that_is_away_have_their_statuses(
    system: System, staff: httpx2.AsyncClient
) -> None:
    missing = await staff.delete("/v1/limits/nothing")
    await system.stop("accounting")
    away = await staff.get("/v1/usage")

    assert (missing.status_code, missing.json()["reason"]) == (404, "LIMIT_NOT_FOUND")
    assert away.status_code == 503
    assert int(away.headers["retry-after"]) >= 1


async def test_a_stream_comes_line_by_line_or_as_events(backend: httpx2.AsyncClient) -> None:
    async with backend.stream("GET", "/v1/status:watch", params={"org": "acme"}) as lines:
        first = json.loads(await anext(lines.aiter_lines()))
    async with backend.stream(
        "GET",
        "/v1/status:watch",
        params={"org": "acme"},
        headers={"accept": "text/event-stream"},
    ) as events:
        data = await anext(events.aiter_lines())

    assert first["status"]
    assert lines.headers["content-type"].startswith("application/x-ndjson")
    assert json.loads(data.removeprefix("data: ")).keys() == first.keys()


async def test_a_stream_that_fails_at_once_has_its_status(backend: httpx2.AsyncClient) -> None:
    answer = await backend.get("/v1/status:watch", params={"org": "globex"})

    assert answer.status_code in (403, 404)


async def test_the_served_document_is_openapi_and_names_every_path(web: str) -> None:
    async with httpx2.AsyncClient(base_url=web) as http:
        document = (await http.get("/openapi.json")).json()
        validate(document)
        for path, operations in document["paths"].items():
            for verb in operations:
                answer = await http.request(verb.upper(), path.replace("{", "").replace("}", ""))
                assert answer.status_code not in (404, 405), (verb, path, answer.text)

    assert len(document["paths"]) > 60


async def test_the_reference_page_has_every_operation_and_nothing_from_elsewhere(
    web: str,
) -> None:
    async with httpx2.AsyncClient(base_url=web) as http:
        page = await http.get("/docs")
        style = await http.get("/docs/reference.css")
        document = (await http.get("/openapi.json")).json()
    operations = [each for verbs in document["paths"].values() for each in verbs.values()]

    assert style.headers["content-type"].startswith("text/css")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert [each for each in operations if f'id="{each["operationId"]}"' not in page.text] == []
    assert "<code>AdmitCall</code>" in page.text
    assert "http://" not in page.text.replace("http://127.0.0.1", "")
