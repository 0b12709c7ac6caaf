"""The status as streams and pages see it: it appears and disappears by itself."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from typing import Any

import grpc
import httpx2
import pytest

from gateway import status_tokens, status_watch
from headgate.api.gateway.v1 import admin_pb2, gateway_pb2, gateway_pb2_grpc
from tests.integration.gateway.system import (
    ACME_KEY,
    GLOBEX_KEY,
    Keyed,
    System,
    eventually,
    kill,
    refusal,
)

pb = gateway_pb2
CRITICAL = pb.BANNER_SEVERITY_CRITICAL
CHROMIUM = shutil.which("chromium")


async def until(stream: AsyncIterator[pb.WatchStatusResponse], *, banner: bool) -> pb.OrgStatus:
    async with asyncio.timeout(30):
        async for message in stream:
            if message.status.HasField("banner") is banner:
                return message.status
    raise AssertionError("the stream ended")


async def test_a_stop_is_shown_to_whom_it_stops_until_it_is_lifted(system: System) -> None:
    acme = aiter(system.backend().WatchStatus(pb.WatchStatusRequest(), timeout=60))
    globex = aiter(system.backend(GLOBEX_KEY).WatchStatus(pb.WatchStatusRequest(), timeout=60))
    first, other = (await anext(acme)).status, (await anext(globex)).status
    order = {"reason": "drill", "message": "Back at noon.", "scope": {"org": "acme"}}
    stopped = (await kill(system.staff(), **order)).kill
    shown = await until(acme, banner=True)
    spared = (await anext(globex)).status
    await system.staff().Resume(admin_pb2.ResumeRequest(reason="over", kill_id=stopped.kill_id))
    lifted = await until(acme, banner=False)

    assert first.snapshot
    assert other.snapshot
    assert (shown.banner.severity, shown.banner.text) == (CRITICAL, "Back at noon.")
    assert first.version < shown.version < lifted.version
    assert not spared.HasField("banner")


async def test_who_knows_the_present_version_gets_no_snapshot(system: System) -> None:
    backend = system.backend()
    await kill(system.staff(), reason="drill", scope={"org": "globex"})

    async def has_moved() -> bool:
        told = await anext(aiter(backend.WatchStatus(pb.WatchStatusRequest())))
        return bool(told.status.version > 1)

    # Intended, then in force: nothing moves after that.
    await eventually(has_moved)
    known = (await anext(aiter(backend.WatchStatus(pb.WatchStatusRequest())))).status
    request = pb.WatchStatusRequest(known_version=known.version)
    resumed = (await anext(aiter(backend.WatchStatus(request)))).status
    request.known_version -= 1
    behind = (await anext(aiter(backend.WatchStatus(request)))).status

    assert (known.snapshot, resumed.snapshot, behind.snapshot) == (True, False, True)


async def test_too_many_watchers_are_refused(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_watch, "WATCHER_COUNT_MAX", 1)
    backend = system.backend()
    first = aiter(backend.WatchStatus(pb.WatchStatusRequest(), timeout=60))
    await anext(first)

    refused = await refusal(anext(aiter(backend.WatchStatus(pb.WatchStatusRequest()))))

    assert refused.code == "RESOURCE_EXHAUSTED"


async def test_a_watcher_that_went_without_a_word_makes_room(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_watch, "WATCHER_COUNT_MAX", 1)
    # It reads once, never again, and closes nothing: its process ends.
    channel = system.channel()
    gone = Keyed(gateway_pb2_grpc.GatewayServiceStub(channel), ACME_KEY)
    await anext(aiter(gone.WatchStatus(pb.WatchStatusRequest(), timeout=60)))
    await channel.close()

    async def has_room() -> bool:
        stream = aiter(system.backend(GLOBEX_KEY).WatchStatus(pb.WatchStatusRequest()))
        try:
            return bool((await anext(stream)).status.snapshot)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise
            return False

    await eventually(has_room)


async def token_of(system: System) -> str:
    answer = await system.backend().CreateStatusToken(pb.CreateStatusTokenRequest())
    return str(answer.token)


async def test_nobody_reads_events_without_a_token(web: str) -> None:
    async with httpx2.AsyncClient(base_url=web) as http:
        answers = [
            await http.get("/status/events", params={"token": token})
            for token in ("", "x", ACME_KEY)
        ]

    assert {each.status_code for each in answers} == {401}


async def test_a_stream_of_events_ends_with_its_token(
    system: System, web: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_tokens, "LIFETIME_SECONDS", 4)
    token = await token_of(system)
    async with httpx2.AsyncClient(base_url=web, timeout=30) as http:
        # Comes to an end by itself.
        read = await http.get("/status/events", params={"token": token})
        again = await http.get("/status/events", params={"token": token})

    assert read.text.startswith("id: ")
    assert (read.status_code, again.status_code) == (200, 401)


async def test_the_page_runs_nothing_that_is_not_its_own(web: str) -> None:
    async with httpx2.AsyncClient(base_url=web) as http:
        page = await http.get("/status/banner", params={"token": '"><script>alert(1)</script>'})

    assert "<script>alert" not in page.text
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
async def test_the_banner_appears_and_disappears_in_a_browser(
    system: System,
    web: str,
    tmp_path: Any,
) -> None:
    from playwright.async_api import async_playwright  # noqa: PLC0415 - only where it can run

    token, staff = await token_of(system), system.staff()
    complaints: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        try:
            page = await browser.new_page()
            page.on("console", lambda message: complaints.append(message.text))
            await page.goto(f"{web}/status/banner?token={token}")
            banner = page.locator(".headgate-banner")
            await banner.wait_for(state="attached", timeout=30_000)
            assert not await banner.is_visible()
            stopped = (await kill(staff, reason="drill", message="<b>Back</b> at noon.")).kill
            await banner.wait_for(state="visible", timeout=30_000)
            text = await banner.inner_text()
            await page.screenshot(path=tmp_path / "banner.png")
            await staff.Resume(admin_pb2.ResumeRequest(reason="over", kill_id=stopped.kill_id))
            await banner.wait_for(state="hidden", timeout=30_000)
        finally:
            await browser.close()

    assert text == "<b>Back</b> at noon."
    assert complaints == []
