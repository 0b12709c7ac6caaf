"""Every way out of a governed request ends its call, and ends it right."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import pytest

import headgate
from headgate.api.common.v1 import call_pb2
from headgate.api.gateway.v1 import gateway_pb2
from headgate.testing import API_KEY, FakeGateway, Pause
from headgate.testing.entries import Entry
from tests.integration.transports.line import USAGE, Line, streaming, whole

GEMINI = "https://generativelanguage.googleapis.com/v1/models/own:streamGenerateContent?alt=sse"
WAIT_SECONDS = 20.0


def event(body: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(body).encode() + b"\n\n"


WORD = event({"choices": [{"index": 0, "delta": {"content": "So"}}]})
LAST = event({"choices": [], "usage": USAGE})
DONE = b"data: [DONE]\n\n"


class Gate:
    """Somewhere a provider waits for ever, and says so."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()

    async def wait(self) -> None:
        self.reached.set()
        await asyncio.Event().wait()


@pytest.fixture
async def make_line(gateway: FakeGateway) -> AsyncIterator[Callable[..., Line]]:
    gateway.ledger.routes = {"chat": (("openai", "gpt"),)}
    made: list[Line] = []
    async with headgate.Client(gateway.target, api_key=API_KEY) as client:

        def make(respond: Any) -> Line:
            made.append(Line(client, respond))
            return made[-1]

        yield make
        for each in made:
            await each.http.aclose()


async def the_end(gateway: FakeGateway) -> Entry:
    """The only call, once it has ended."""
    await gateway.wait_for_rpc("CompleteCall")
    (entry,) = gateway.ledger.entries.values()
    await gateway.wait_for_end(entry.call_id)
    assert gateway.ledger.held_nanos("acme") == 0
    return entry


def outcome(entry: Entry) -> call_pb2.CallOutcome.ValueType:
    assert entry.report is not None
    return entry.report.outcome


def held(entry: Entry) -> int:
    assert entry.admission is not None
    return entry.admission.held_nanos


async def cancel_when(reached: Any, task: asyncio.Task[Any]) -> None:
    waiting = asyncio.ensure_future(reached.wait())
    async with asyncio.timeout(WAIT_SECONDS):
        await asyncio.wait({waiting, task}, return_when=asyncio.FIRST_COMPLETED)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("after", [False, True])
async def test_who_is_cancelled_while_admission_decides_leaves_no_hold(
    gateway: FakeGateway, make_line: Callable[..., Line], after: bool
) -> None:
    pause = gateway.faults.pause("admit", after=after)
    line = make_line(whole)
    task = asyncio.create_task(line.ask())
    await cancel_when(pause.reached, task)
    pause.resume.set()
    await gateway.wait_for_rpc("ReleaseCall")

    assert line.requests == []
    assert gateway.ledger.held_nanos("acme") == 0


@pytest.mark.parametrize("where", ["answer", "content", "stream"])
async def test_who_is_cancelled_while_the_provider_works_has_aborted_the_call(
    gateway: FakeGateway, make_line: Callable[..., Line], where: str
) -> None:
    gate = Gate()

    async def never(_: httpx2.Request) -> httpx2.Response:
        await gate.wait()
        raise AssertionError

    async def content() -> AsyncIterator[bytes]:
        yield b"{"
        await gate.wait()

    json_type = {"content-type": "application/json"}
    respond = {
        "answer": never,
        "content": lambda _: httpx2.Response(200, headers=json_type, content=content()),
        "stream": streaming(WORD, then=gate.wait),
    }[where]
    task = asyncio.create_task(make_line(respond).ask(stream=where == "stream"))
    await cancel_when(gate.reached, task)
    entry = await the_end(gateway)

    assert outcome(entry) == call_pb2.CALL_OUTCOME_ABORTED
    # Nobody knows what was used: the hold is charged.
    assert entry.settled_nanos == held(entry)


async def test_who_is_cancelled_while_the_end_is_reported_has_reported_it(
    gateway: FakeGateway, make_line: Callable[..., Line]
) -> None:
    pause: Pause = gateway.faults.pause("complete")
    task = asyncio.create_task(make_line(whole).ask())
    await cancel_when(pause.reached, task)
    pause.resume.set()
    entry = await the_end(gateway)

    assert outcome(entry) == call_pb2.CALL_OUTCOME_SUCCEEDED
    assert entry.report is not None
    assert entry.report.meters.input_token_count == USAGE["prompt_tokens"]


async def read_first(line: Line, url: str | None = None) -> None:
    """Reads the first event of a stream and closes it."""
    where = {"url": url} if url else {}
    request = line.http.build_request(
        "POST",
        where.get("url", "https://api.openai.com/v1/chat/completions"),
        json={"stream": True},
    )
    response = await line.http.send(request, stream=True)
    async for _ in response.aiter_bytes():
        break
    await response.aclose()


async def test_a_stream_closed_before_its_usage_is_charged_at_the_hold(
    gateway: FakeGateway, make_line: Callable[..., Line]
) -> None:
    await read_first(make_line(streaming(WORD, then=Gate().wait)))
    entry = await the_end(gateway)

    assert outcome(entry) == call_pb2.CALL_OUTCOME_ABORTED
    assert entry.settled_nanos == held(entry)


async def test_a_stream_closed_after_some_usage_is_charged_at_the_meters_seen(
    gateway: FakeGateway, make_line: Callable[..., Line]
) -> None:
    gateway.ledger.routes = {"chat": (("google", "gemini"),)}
    usage = {"promptTokenCount": 11, "candidatesTokenCount": 3}
    said = event({"candidates": [{"content": {}}], "usageMetadata": usage})
    await read_first(make_line(streaming(said, then=Gate().wait)), GEMINI)
    entry = await the_end(gateway)

    assert outcome(entry) == call_pb2.CALL_OUTCOME_ABORTED
    assert entry.report is not None
    assert entry.report.meters.input_token_count == 11
    assert entry.report.meters.output_token_count == 3


async def test_a_stream_that_is_forgotten_is_ended_when_it_is_collected(
    gateway: FakeGateway, make_line: Callable[..., Line]
) -> None:
    line = make_line(streaming(WORD, then=Gate().wait))

    async def forget() -> None:
        request = line.http.build_request(
            "POST", "https://api.openai.com/v1/chat/completions", json={}
        )
        response = await line.http.send(request, stream=True)
        async for _ in response.aiter_bytes():
            break

    await forget()
    gc.collect()

    assert outcome(await the_end(gateway)) == call_pb2.CALL_OUTCOME_ABORTED


async def test_a_stream_closed_after_its_end_has_succeeded(
    gateway: FakeGateway, make_line: Callable[..., Line]
) -> None:
    await read_first(make_line(streaming(WORD + LAST + DONE, then=Gate().wait)))
    entry = await the_end(gateway)

    assert outcome(entry) == call_pb2.CALL_OUTCOME_SUCCEEDED
    assert entry.report is not None
    assert entry.report.meters.output_token_count == USAGE["completion_tokens"]


async def test_a_stream_that_breaks_is_the_providers_failure(
    gateway: FakeGateway, make_line: Callable[..., Line]
) -> None:
    async def reset() -> None:
        raise httpx2.RemoteProtocolError("peer closed connection")

    with pytest.raises(httpx2.RemoteProtocolError):
        await make_line(streaming(WORD, then=reset)).ask(stream=True)

    assert outcome(await the_end(gateway)) == call_pb2.CALL_OUTCOME_PROVIDER_FAILED


async def test_a_stream_that_tells_an_error_is_the_providers_failure(
    gateway: FakeGateway, make_line: Callable[..., Line]
) -> None:
    told = event({"error": {"message": "The server had an error", "type": "server_error"}})
    await make_line(streaming(WORD, told)).ask(stream=True)

    assert outcome(await the_end(gateway)) == call_pb2.CALL_OUTCOME_PROVIDER_FAILED


@pytest.mark.parametrize("cut", range(1, 12))
async def test_events_may_be_cut_anywhere_and_pass_unchanged(
    gateway: FakeGateway, make_line: Callable[..., Line], cut: int
) -> None:
    hidden = LAST.replace(b"\n\n", b"\r\n\r\n")
    flow = b": hello\n\n" + WORD + b"data: no json\n\n" + hidden + DONE
    pieces = [flow[at : at + cut] for at in range(0, len(flow), cut)]
    answer = await make_line(streaming(*pieces)).ask(stream=True)
    entry = await the_end(gateway)

    assert answer.content == flow.replace(hidden, b"")
    assert entry.state == gateway_pb2.FINISHED_STATE_SETTLED
    assert entry.report is not None
    assert entry.report.meters.input_token_count == USAGE["prompt_tokens"]
