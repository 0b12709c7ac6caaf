"""Toggles as calls feel them, and as any OpenFeature SDK reads them."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest
from openfeature import api
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.flag_evaluation import Reason

from headgate.api.common.v1 import denial_pb2
from headgate.api.gateway.v1 import admin_pb2
from tests.integration.gateway.system import ACME_KEY, GLOBEX_KEY, System, eventually, refusal
from tests.integration.gateway.test_kills import decide

PATH = "/ofrep/v1/evaluate/flags"


def put(toggle_id: str, *, enabled: bool, org: str = "") -> admin_pb2.PutToggleRequest:
    return admin_pb2.PutToggleRequest(
        toggle_id=toggle_id, enabled=enabled, org=org, reason="trial"
    )


async def test_with_ai_generation_off_calls_are_denied_with_the_fallback_text(
    system: System,
) -> None:
    staff, acme, globex = system.staff(), system.backend(), system.backend(GLOBEX_KEY)
    await staff.PutToggle(put("ai-generation", enabled=False, org="acme"))

    async def is_off() -> bool:
        return (await decide(acme)).denial.reason == denial_pb2.DENIAL_REASON_TOGGLE_OFF

    await eventually(is_off)
    assert (await decide(acme)).denial.fallback_text
    assert (await decide(globex)).WhichOneof("decision") == "admission"
    await staff.DeleteToggle(
        admin_pb2.DeleteToggleRequest(toggle_id="ai-generation", org="acme", reason="over")
    )

    async def is_on() -> bool:
        return (await decide(acme)).WhichOneof("decision") == "admission"

    await eventually(is_on)


async def test_nothing_in_the_admin_api_changes_a_guardrail(system: System) -> None:
    refused = await refusal(system.staff().PutToggle(put("fail-closed", enabled=False)))

    assert (refused.code, refused.reason) == ("FAILED_PRECONDITION", "TOGGLE_LOCKED")


async def test_the_openfeature_sdk_reads_toggles(system: System, web: str) -> None:
    staff = system.staff()
    await staff.PutToggle(put("new-search", enabled=False))
    await staff.PutToggle(put("new-search", enabled=True, org="acme"))

    def read(key: str, toggle: str, **attributes: str) -> tuple[bool, Any, Any]:
        headers = {"authorization": f"Bearer {key}"}
        domain = f"{key}-{toggle}"
        api.set_provider(OFREPProvider(web, headers_factory=lambda: headers), domain)
        context = EvaluationContext("user-1", dict(attributes))
        client = api.get_client(domain)
        details = client.get_boolean_details(toggle, False, context)
        return details.value, details.reason, details.error_code

    async def is_known() -> bool:
        value, *_ = await asyncio.to_thread(read, ACME_KEY, "new-search")
        return bool(value)

    await eventually(is_known)
    try:
        found = await asyncio.to_thread(read, ACME_KEY, "new-search")
        other = await asyncio.to_thread(read, GLOBEX_KEY, "new-search", operation="chat")
        locked = await asyncio.to_thread(read, ACME_KEY, "fail-closed")
        missing = await asyncio.to_thread(read, ACME_KEY, "unheard-of")
    finally:
        api.shutdown()

    assert found == (True, Reason.TARGETING_MATCH, None)
    assert other == (False, Reason.DEFAULT, None)
    assert locked == (True, Reason.STATIC, None)
    assert missing[0] is False
    assert str(missing[2]).endswith("FLAG_NOT_FOUND")


async def test_all_toggles_come_at_once_and_not_twice(web: str) -> None:
    async with httpx2.AsyncClient(
        base_url=web, headers={"authorization": f"Bearer {ACME_KEY}"}
    ) as http:
        first = await http.post(PATH, json={"context": {}})
        again = await http.post(PATH, headers={"if-none-match": first.headers["etag"]})

    flags = {each["key"]: each["value"] for each in first.json()["flags"]}
    assert flags["ai-generation"] is True
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[1]", 400),
        (b'{"context": 7}', 400),
        (b'{"context": {"org": 7}}', 400),
        (b'{"context": {"org": "a b"}}', 400),
        (b'{"context": {"org": "globex"}}', 403),
        (b"[" * 5_000, 400),
        (b" " * 20_000, 413),
    ],
)
async def test_a_wrong_request_is_refused(web: str, body: bytes, status: int) -> None:
    async with httpx2.AsyncClient(
        base_url=web, headers={"authorization": f"Bearer {ACME_KEY}"}
    ) as http:
        answers = [await http.post(path, content=body) for path in (PATH, f"{PATH}/notifications")]

    assert {each.status_code for each in answers} == {status}


@pytest.mark.parametrize("shown", ["", "Bearer x", "Basic abc", f"Bearer {ACME_KEY}x"])
async def test_nobody_without_a_key_reads_toggles(web: str, shown: str) -> None:
    async with httpx2.AsyncClient(base_url=web, headers={"authorization": shown}) as http:
        answer = await http.post(PATH)

    assert answer.status_code == 401
