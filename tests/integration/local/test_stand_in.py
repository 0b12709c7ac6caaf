"""The provider stand-in as a process: its answers, its faults and its bill."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from local.config import CHECKOUT
from local.demo import stand_in
from local.demo.stand_in import StandInProcess

PROMPT = "word " * 1000
MODEL = "gpt-4o-mini"


@pytest.fixture
async def provider(tmp_path: Path) -> AsyncIterator[StandInProcess]:
    async with stand_in.running(tmp_path / "bill.jsonl", seed=3, speed=50) as process:
        yield process


@pytest.fixture
async def slow_provider(tmp_path: Path) -> AsyncIterator[StandInProcess]:
    async with stand_in.running(tmp_path / "bill.jsonl", seed=3, speed=6) as process:
        yield process


@pytest.fixture
async def http() -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(timeout=30) as client:
        yield client


def bill(provider: StandInProcess) -> list[dict[str, Any]]:
    return [json.loads(line) for line in provider.bill_path.read_text().splitlines()]


async def bill_of(provider: StandInProcess, call_id: str) -> dict[str, Any]:
    """The line that the stand-in writes once it has noticed how the call ended."""
    async with asyncio.timeout(10):
        while True:
            for line in bill(provider):
                if line["id"] == call_id:
                    return line
            await asyncio.sleep(0.01)


def ask(
    provider: StandInProcess,
    call_id: str,
    *,
    name: str = "demo-openai",
    output: int = 100,
    fault: str | None = None,
    **body: object,
) -> dict[str, Any]:
    headers = {"x-headgate-call-id": call_id, "x-stand-in-output-tokens": str(output)}
    if fault:
        headers["x-stand-in-fault"] = fault
    return {
        "url": f"{provider.url}/{name}/v1/chat/completions",
        "headers": headers,
        "json": {"model": MODEL, "messages": [{"role": "user", "content": PROMPT}], **body},
    }


async def read_stream(response: httpx2.Response) -> list[dict[str, Any]]:
    lines = [line async for line in response.aiter_lines() if line]
    assert lines.pop() == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines]


async def test_a_full_call_is_one_line_on_the_bill(
    provider: StandInProcess, http: httpx2.AsyncClient
) -> None:
    response = await http.post(**ask(provider, "call-1", max_tokens=500))
    usage = response.json()["usage"]
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    reasoning = usage["completion_tokens_details"]["reasoning_tokens"]

    assert usage["prompt_tokens"] == 1000
    assert usage["completion_tokens"] == 100
    assert len(response.json()["choices"][0]["message"]["content"].split()) == 100 - reasoning
    assert bill(provider) == [
        {
            "id": "call-1",
            "provider": "demo-openai",
            "model": MODEL,
            "prompt_tokens": 1000,
            "cached_tokens": cached,
            "completion_tokens": 100,
            "reasoning_tokens": reasoning,
            # 150, 75 and 600 nano-dollars a token.
            "nanos": (1000 - cached) * 150 + cached * 75 + 100 * 600,
            "ended": "full",
        }
    ]


async def test_a_stream_ends_with_the_usage_that_is_billed(
    provider: StandInProcess, http: httpx2.AsyncClient
) -> None:
    options: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
    async with http.stream("POST", **ask(provider, "call-1", max_tokens=500, **options)) as reply:
        chunks = await read_stream(reply)
    words = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks[:-1])
    usage = chunks[-1]["usage"]
    line = bill(provider)[0]

    assert chunks[-1]["choices"] == []
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert usage["completion_tokens"] == line["completion_tokens"] == 100
    assert usage["completion_tokens_details"]["reasoning_tokens"] == line["reasoning_tokens"]
    assert len(words.split()) == 100 - line["reasoning_tokens"]
    assert line["ended"] == "full"


async def test_a_stream_without_the_option_carries_no_usage(
    provider: StandInProcess, http: httpx2.AsyncClient
) -> None:
    async with http.stream("POST", **ask(provider, "call-1", stream=True)) as reply:
        chunks = await read_stream(reply)

    assert all("usage" not in chunk for chunk in chunks)


async def test_the_bound_of_the_output_holds(
    provider: StandInProcess, http: httpx2.AsyncClient
) -> None:
    response = await http.post(**ask(provider, "call-1", max_completion_tokens=40))

    assert response.json()["usage"]["completion_tokens"] == 40
    assert response.json()["choices"][0]["finish_reason"] == "length"


async def test_a_cancelled_stream_is_billed_for_what_was_generated(
    slow_provider: StandInProcess, http: httpx2.AsyncClient
) -> None:
    words = 0
    call = ask(slow_provider, "call-1", output=2000, stream=True)
    async with http.stream("POST", **call) as reply:
        async for line in reply.aiter_lines():
            if line:
                chunk = json.loads(line.removeprefix("data: "))
                words += len(chunk["choices"][0]["delta"]["content"].split())
            if words:
                break
    billed = await bill_of(slow_provider, "call-1")
    output = billed["completion_tokens"] - billed["reasoning_tokens"]

    assert billed["ended"] == "cut"
    assert words <= output < 2000 - billed["reasoning_tokens"]
    assert billed["nanos"] == (
        (1000 - billed["cached_tokens"]) * 150
        + billed["cached_tokens"] * 75
        + billed["completion_tokens"] * 600
    )


async def test_a_call_that_is_cancelled_without_streaming_is_billed_too(
    slow_provider: StandInProcess, http: httpx2.AsyncClient
) -> None:
    with pytest.raises(httpx2.ReadTimeout):
        await http.post(**ask(slow_provider, "call-1", output=2000), timeout=1)
    line = await bill_of(slow_provider, "call-1")

    assert line["ended"] == "cut"
    assert line["completion_tokens"] < 2000


@pytest.mark.parametrize(("fault", "status"), [("500", 500), ("429", 429), ("400", 400)])
async def test_failed_calls_are_not_billed(
    provider: StandInProcess, http: httpx2.AsyncClient, fault: str, status: int
) -> None:
    response = await http.post(**ask(provider, "call-1", fault=fault))

    assert response.status_code == status
    assert "message" in response.json()["error"]
    assert response.headers.get("retry-after") == ("1" if status == 429 else None)
    assert bill(provider) == []


async def test_a_broken_stream_is_not_billed(
    provider: StandInProcess, http: httpx2.AsyncClient
) -> None:
    with pytest.raises(httpx2.RemoteProtocolError):
        async with http.stream("POST", **ask(provider, "c", fault="reset", stream=True)) as reply:
            await read_stream(reply)

    assert bill(provider) == []


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("demo-openai", {"messages": []}),
        ("demo-openai", {"messages": [{"role": "user", "content": 7}]}),
        ("demo-openai", {"max_tokens": 0}),
        ("demo-openai", {"model": None}),
        ("demo-openai", {"model": "unheard-of"}),
        ("unheard-of", {}),
    ],
)
async def test_a_wrong_request_is_refused_and_not_billed(
    provider: StandInProcess, http: httpx2.AsyncClient, name: str, body: dict[str, Any]
) -> None:
    response = await http.post(**ask(provider, "call-1", name=name, **body))

    assert response.status_code in (400, 404)
    assert bill(provider) == []


async def test_an_outage_stops_one_provider_and_ends(
    provider: StandInProcess, http: httpx2.AsyncClient
) -> None:
    await provider.set_outage("demo-openai", seconds=60)
    out = await http.post(**ask(provider, "call-1"))
    other = await http.post(
        **ask(provider, "call-2", name="demo-google", model="gemini-flash-lite")
    )
    await provider.set_outage("demo-openai", seconds=0)
    back = await http.post(**ask(provider, "call-3"))

    assert [out.status_code, other.status_code, back.status_code] == [503, 200, 200]
    assert [line["id"] for line in bill(provider)] == ["call-2", "call-3"]


async def test_an_outage_breaks_streams_under_way(
    slow_provider: StandInProcess, http: httpx2.AsyncClient
) -> None:
    async with http.stream("POST", **ask(slow_provider, "c", output=900, stream=True)) as reply:
        await slow_provider.set_outage("demo-openai", seconds=60)
        with pytest.raises(httpx2.RemoteProtocolError):
            await read_stream(reply)

    assert bill(slow_provider) == []


async def test_the_error_rate_is_the_share_of_failing_calls(
    tmp_path: Path, http: httpx2.AsyncClient
) -> None:
    async with stand_in.running(tmp_path / "b", seed=1, speed=500, error_rate=0.5) as provider:
        replies = [
            await http.post(**ask(provider, f"call-{number}", output=1)) for number in range(60)
        ]
        failed = sum(reply.status_code >= 400 for reply in replies)

        assert 15 <= failed <= 45
        assert len(bill(provider)) == 60 - failed


async def test_the_stand_in_ends_with_its_parent(tmp_path: Path) -> None:
    program = (
        "import asyncio, pathlib, sys\n"
        "from local.demo import stand_in\n"
        "async def main():\n"
        "    async with stand_in.running(pathlib.Path(sys.argv[1])) as provider:\n"
        "        print(provider.pid, flush=True)\n"
        "        await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program, str(tmp_path / "bill")),
        stdout=asyncio.subprocess.PIPE,
        cwd=CHECKOUT,
    )
    assert parent.stdout is not None
    child = psutil.Process(int(await parent.stdout.readline()))
    os.kill(parent.pid, signal.SIGKILL)
    await parent.wait()

    _, alive = await asyncio.to_thread(psutil.wait_procs, [child], timeout=10)
    assert alive == []
