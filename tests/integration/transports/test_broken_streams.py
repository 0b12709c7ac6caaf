"""A stream that the provider breaks off ends with the fallback text, if the caller wants that."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import openai
import pytest

import headgate
from headgate.api.common.v1 import call_pb2
from headgate.testing import API_KEY, FakeGateway
from tests.integration.transports.line import OPENAI, Line, streaming
from tests.integration.transports.test_ends import DONE, GEMINI, LAST, WORD, event, the_end

COMPLETIONS = "https://api.openai.com/v1/completions"
ANTHROPIC = "https://api.anthropic.com/v1/messages"
PROVIDERS = {OPENAI: "openai", COMPLETIONS: "openai", GEMINI: "google", ANTHROPIC: "anthropic"}
GOOGLE_WORD = event({"candidates": [{"content": {"parts": [{"text": "So"}]}}]})
TEXT_WORD = event({"choices": [{"index": 0, "text": "So"}]})
TOLD = event({"error": {"message": "overloaded", "type": "server_error"}})
Make = Callable[..., Line]


async def breaks() -> None:
    raise httpx2.RemoteProtocolError("peer closed connection")


@pytest.fixture
async def make_line(gateway: FakeGateway) -> AsyncIterator[Make]:
    made: list[Line] = []
    async with headgate.Client(gateway.target, api_key=API_KEY) as client:

        def make(respond: Any, *, url: str = OPENAI, on_refused: str = "fallback") -> Line:
            gateway.ledger.routes = {"chat": ((PROVIDERS[url], "gpt"),)}
            made.append(Line(client, respond, on_refused=on_refused))
            return made[-1]

        yield make
        for each in made:
            await each.http.aclose()


async def read(line: Line, url: str = OPENAI) -> list[dict[str, Any]]:
    """The events of a stream that ends well."""
    answer = await line.ask(url, stream=True)
    lines = [each.removeprefix("data: ") for each in answer.text.splitlines() if each]
    return [json.loads(each) for each in lines if each != "[DONE]"]


@pytest.mark.parametrize(
    ("url", "word", "find"),
    [
        (OPENAI, WORD, lambda each: each["choices"][0]["delta"].get("content", "")),
        (COMPLETIONS, TEXT_WORD, lambda each: each["choices"][0]["text"]),
        (GEMINI, GOOGLE_WORD, lambda each: each["candidates"][0]["content"]["parts"][0]["text"]),
    ],
)
async def test_what_was_shown_stays_and_the_fallback_text_ends_it(
    gateway: FakeGateway, make_line: Make, url: str, word: bytes, find: Callable[[Any], str]
) -> None:
    line = make_line(streaming(word, then=breaks), url=url)

    said = "".join(map(find, await read(line, url)))

    assert said == f"So\n\n{gateway.ledger.fallback_text}"
    entry = await the_end(gateway)
    assert entry.report is not None
    assert entry.report.outcome == call_pb2.CALL_OUTCOME_PROVIDER_FAILED
    assert entry.report.error_type == "RemoteProtocolError"


async def test_an_error_that_the_stream_tells_is_replaced_by_the_fallback_text(
    gateway: FakeGateway, make_line: Make
) -> None:
    events = await read(make_line(streaming(WORD, TOLD)))

    assert not any("error" in each for each in events)
    assert gateway.ledger.fallback_text in events[1]["choices"][0]["delta"]["content"]
    assert events[-1]["choices"][0]["finish_reason"] == "stop"


async def test_a_package_takes_it_for_one_answer(gateway: FakeGateway, make_line: Make) -> None:
    # The package looks at what else a piece says of itself.
    of = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "gpt"}
    delta = {"role": "assistant", "content": "So"}
    piece = event({**of, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
    line = make_line(streaming(piece, then=breaks))
    client = openai.AsyncOpenAI(api_key="k", http_client=line.http, max_retries=0)
    messages: Any = [{"role": "user", "content": "Why?"}]
    async with client.chat.completions.stream(model="own", messages=messages) as stream:
        answer = await stream.get_final_completion()

    assert answer.choices[0].message.content == f"So\n\n{gateway.ledger.fallback_text}"
    assert answer.choices[0].finish_reason == "stop"


async def test_a_whole_answer_is_left_alone(make_line: Make) -> None:
    events = await read(make_line(streaming(WORD, LAST, DONE)))

    assert [bool(each["choices"]) for each in events] == [True]


@pytest.mark.parametrize(
    ("url", "on_refused", "text"),
    [
        (OPENAI, "raise", "Please try again later."),
        (OPENAI, "fallback", ""),
        # Its pieces are numbered: a text can't be put behind them.
        (ANTHROPIC, "fallback", "Please try again later."),
    ],
)
async def test_elsewhere_the_broken_stream_raises(
    gateway: FakeGateway, make_line: Make, url: str, on_refused: str, text: str
) -> None:
    gateway.ledger.fallback_text = text
    line = make_line(streaming(WORD, then=breaks), url=url, on_refused=on_refused)

    with pytest.raises(httpx2.RemoteProtocolError):
        await line.ask(url, stream=True)
