"""What may be wrong with the stand-in's providers for a while."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest

from local.demo.stand_in import StandInProcess
from tests.integration.local.test_stand_in import ask, http, provider

__all__ = ["http", "provider"]


async def test_troubles_last_until_they_are_ended(
    provider: StandInProcess, http: httpx2.AsyncClient
) -> None:
    async def statuses() -> set[int]:
        asked = (http.post(**ask(provider, f"call-{number}")) for number in range(40))
        return {answer.status_code for answer in await asyncio.gather(*asked)}

    await provider.set_trouble("demo-openai", error_rate=0.5)
    assert await statuses() == {200, 500}
    await provider.set_trouble("demo-openai", retry_after_seconds=7)
    throttled = await http.post(**ask(provider, "throttled"))
    assert (throttled.status_code, throttled.headers["retry-after"]) == (429, "7")
    await provider.set_trouble("demo-openai", cuts_streams=True)
    with pytest.raises(httpx2.RemoteProtocolError):
        await http.post(**ask(provider, "cut", stream=True))
    await provider.set_trouble("demo-openai")
    assert await statuses() == {200}


async def test_a_slow_provider_is_slow(provider: StandInProcess, http: httpx2.AsyncClient) -> None:
    loop = asyncio.get_running_loop()

    async def seconds() -> float:
        began = loop.time()
        await http.post(**ask(provider, "the same"))
        return loop.time() - began

    usual = await seconds()
    await provider.set_trouble("demo-openai", slowness=20)
    assert await seconds() > 5 * usual


@pytest.mark.parametrize(
    ("trouble", "status"),
    [
        ({"provider": "nobody"}, 404),
        ({"provider": "demo-openai", "error_rate": 1.5}, 400),
        ({"provider": "demo-openai", "slowness": 0.5}, 400),
        ({"provider": "demo-openai", "retry_after_seconds": -1}, 400),
        ({"provider": "demo-openai", "slowness": "very"}, 400),
    ],
)
async def test_a_trouble_that_makes_no_sense_is_refused(
    provider: StandInProcess, http: httpx2.AsyncClient, trouble: dict[str, Any], status: int
) -> None:
    answer = await http.post(f"{provider.url}/control/trouble", json=trouble)
    assert answer.status_code == status
