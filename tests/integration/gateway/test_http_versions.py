"""Tags of what is read, and changes that ask for a version: over HTTP and by gRPC."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest_asyncio

from tests.integration.gateway.system import ADMIN_KEY

LIMIT = {
    "scope": {"org": "acme"},
    "metric": "METRIC_CALLS",
    "calendar": {"period": "CALENDAR_PERIOD_DAY", "timeZone": "UTC"},
    "cap": "3",
}
ROUTE = {"candidates": [{"provider": "openai", "model": "gpt-4.1-mini"}]}
TEMPLATE = {"defaultLocale": "en", "texts": {"en": "Later."}}
# A thing of each kind that has versions: its path, and two bodies that differ.
THINGS: dict[str, tuple[str, Any, Any]] = {
    "limit": ("/v1/limits/a", LIMIT, {**LIMIT, "cap": "4"}),
    "toggle": (
        "/v1/toggles/a",
        {"enabled": True, "reason": "x"},
        {"enabled": False, "reason": "x"},
    ),
    "route": (
        "/v1/routes/a",
        ROUTE,
        {**ROUTE, "fallbackText": "Later."},
    ),
    "template": (
        "/v1/templates/a",
        {"template": TEMPLATE},
        {"template": {**TEMPLATE, "texts": {"en": "Never."}}},
    ),
}


@pytest_asyncio.fixture
async def staff(web: str) -> AsyncIterator[httpx2.AsyncClient]:
    headers = {"authorization": f"Bearer {ADMIN_KEY}"}
    async with httpx2.AsyncClient(base_url=web, headers=headers, timeout=30) as http:
        yield http


async def test_a_change_happens_only_to_the_version_that_it_names(
    staff: httpx2.AsyncClient,
) -> None:
    for kind, (path, body, other) in THINGS.items():
        made = await staff.put(path, json=body)
        read = await staff.get(path)
        old = {"if-match": read.headers["etag"]}
        changed = await staff.put(path, json=other, headers=old)
        late = await staff.put(path, json=body, headers=old)
        why = {"reason": "x"} if kind in ("toggle", "template") else {}
        not_deleted = await staff.delete(path, params=why, headers=old)
        now = await staff.get(path)
        new = {"if-match": now.headers["etag"]}
        deleted = await staff.delete(path, params=why, headers=new)

        assert made.headers["etag"] == read.headers["etag"], made.text
        assert changed.status_code == 200, changed.text
        assert changed.headers["etag"] == now.headers["etag"] != read.headers["etag"]
        assert (late.status_code, late.json()["reason"]) == (412, f"{kind.upper()}_CHANGED")
        assert late.headers["content-type"] == "application/problem+json"
        assert not_deleted.status_code == 412, not_deleted.text
        assert deleted.status_code == 200, deleted.text
        assert (await staff.get(path)).status_code == 404


async def test_of_many_writers_that_read_the_same_one_wins(staff: httpx2.AsyncClient) -> None:
    for kind, (path, body, _) in THINGS.items():
        tag = {"if-match": (await staff.put(path, json=body)).headers["etag"]}
        answers = await asyncio.gather(
            *(staff.put(path, json=vary(kind, number), headers=tag) for number in range(4))
        )
        assert sorted(each.status_code for each in answers) == [200, 412, 412, 412], kind


def vary(kind: str, number: int) -> Any:
    """What says the same twice is a repeat: so each says something else."""
    return {
        "limit": {**LIMIT, "cap": str(10 + number)},
        "toggle": {"enabled": True, "reason": "x", "description": str(number)},
        "route": {**ROUTE, "fallbackText": f"Later {number}."},
        "template": {"template": {**TEMPLATE, "texts": {"en": f"Later {number}."}}},
    }[kind]


async def test_what_must_be_new_replaces_nothing(staff: httpx2.AsyncClient) -> None:
    new = {"if-none-match": "*"}
    for path, body, other in (THINGS[kind] for kind in ("limit", "toggle", "route")):
        made = await staff.put(path, json=body, headers=new)
        second = await staff.put(path, json=other, headers=new)
        read = await staff.get(path)

        assert made.status_code == 200, made.text
        assert second.status_code == 412
        assert read.headers["etag"] == made.headers["etag"]


async def test_who_has_an_answer_is_not_sent_it_again(staff: httpx2.AsyncClient) -> None:
    await staff.put("/v1/limits/a", json=LIMIT)
    for path in ("/v1/limits", "/v1/limits/a", "/v1/apiKeys", "/v1/routes"):
        first = await staff.get(path)
        tag = first.headers["etag"]
        for shown in (tag, f'"x", W/{tag}', "*"):
            again = await staff.get(path, headers={"if-none-match": shown})
            assert (again.status_code, again.content) == (304, b""), (path, shown)
            assert again.headers["etag"] == tag
    before = (await staff.get("/v1/limits")).headers["etag"]
    await staff.put("/v1/limits/a", json={**LIMIT, "cap": "9"})
    changed = await staff.get("/v1/limits", headers={"if-none-match": before})

    assert changed.status_code == 200


async def test_a_condition_that_can_not_be_kept_is_refused(staff: httpx2.AsyncClient) -> None:
    asked: list[tuple[str, Any, dict[str, str]]] = [
        ("/v1/limits/a", LIMIT, {"if-match": "7"}),
        ("/v1/limits/a", LIMIT, {"if-match": "*"}),
        ("/v1/limits/a", LIMIT, {"if-match": '"7", "8"'}),
        ("/v1/limits/a", LIMIT, {"if-match": 'W/"7"'}),
        ("/v1/limits/a", LIMIT, {"if-match": '"99999999999999999999"'}),
        ("/v1/limits/a", LIMIT, {"if-none-match": '"7"'}),
        ("/v1/limits/a", LIMIT, {"if-none-match": "*", "if-match": '"7"'}),
        ("/v1/templates/a", {"template": TEMPLATE}, {"if-none-match": "*"}),
        ("/v1/prices", {}, {"if-match": '"7"'}),
    ]
    before = (await staff.get("/v1/limits")).text
    for path, body, headers in asked:
        answer = await staff.put(path, json=body, headers=headers)
        assert (answer.status_code, answer.json()["reason"]) == (400, "INVALID_HEADER"), headers

    assert (await staff.get("/v1/limits")).text == before


async def test_the_document_says_where_tags_are(staff: httpx2.AsyncClient) -> None:
    paths = (await staff.get("/openapi.json")).json()["paths"]
    for path, _, _ in THINGS.values():
        (template,) = {
            each for each in paths if re.fullmatch(f"{path[:-1]}{{[a-z_]+}}", each) is not None
        }
        names = [each["name"] for each in paths[template]["put"]["parameters"]]
        assert "If-Match" in names
        assert {"200", "412"} <= set(paths[template]["put"]["responses"])
        assert "ETag" in paths[template]["get"]["responses"]["200"]["headers"]
    assert "412" not in paths["/v1/prices"]["put"]["responses"]
