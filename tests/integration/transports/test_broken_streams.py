"""A stream that the provider breaks off ends with the fallback text, if the caller wants that."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import anthropic
import httpx2
import openai
import pytest

import headgate
from headgate.api.common.v1 import call_pb2
from headgate.testing import API_KEY, FakeGateway
from tests.integration.transports.line import OPENAI, Line, streaming
from tests.integration.transports.test_ends import DONE, GEMINI, LAST, WORD, event, the_end
from tests.integration.transports.words import (
    CLAUDE_WORD,
    CLAUDE_WORDS,
    COHERE_WORD,
    RESPONSES_WORD,
    RESPONSES_WORDS,
    tell,
)

COMPLETIONS = "https://api.openai.com/v1/completions"
ANTHROPIC = "https://api.anthropic.com/v1/messages"
RESPONSES = "https://api.openai.com/v1/responses"
COHERE = "https://api.cohere.com/v2/chat"
PROVIDERS = {
    **dict.fromkeys((OPENAI, COMPLETIONS, RESPONSES), "openai"),
    GEMINI: "google",
    ANTHROPIC: "anthropic",
    COHERE: "cohere",
}
GOOGLE_WORD = event({"candidates": [{"content": {"parts": [{"text": "So"}]}}]})
TEXT_WORD = event({"choices": [{"index": 0, "text": "So"}]})
TOLD = event({"error": {"message": "overloaded", "type": "server_error"}})
Make = Callable[..., Line]


def deep(value: Any, *names: str) -> str:
    """The text at the end of a path of members. Empty: there is none."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, str) else ""


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
    return [json.loads(each) for each in lines if each[0] == "{"]


@pytest.mark.parametrize(
    ("url", "word", "find"),
    [
        (OPENAI, WORD, lambda each: each["choices"][0]["delta"].get("content", "")),
        (COMPLETIONS, TEXT_WORD, lambda each: each["choices"][0]["text"]),
        (GEMINI, GOOGLE_WORD, lambda each: each["candidates"][0]["content"]["parts"][0]["text"]),
        (
            COHERE,
            tell(*COHERE_WORD),
            lambda each: deep(each, "delta", "message", "content", "text"),
        ),
        (ANTHROPIC, tell(*CLAUDE_WORD), lambda each: deep(each, "delta", "text")),
        (RESPONSES, tell(*RESPONSES_WORD), lambda each: deep(each, "delta")),
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


@pytest.mark.parametrize("heard", range(len(CLAUDE_WORDS) + 1))
async def test_anthropics_package_takes_it_for_one_message(
    gateway: FakeGateway, make_line: Make, heard: int
) -> None:
    line = make_line(streaming(tell(*CLAUDE_WORDS[:heard]), then=breaks), url=ANTHROPIC)
    client = anthropic.AsyncAnthropic(api_key="k", http_client=line.http, max_retries=0)
    messages: Any = [{"role": "user", "content": "Why?"}]
    async with client.messages.stream(model="own", max_tokens=9, messages=messages) as stream:
        answer = await stream.get_final_message()

    texts = [each.text for each in answer.content if each.type == "text"]
    assert texts[-1].endswith(f"\n\n{gateway.ledger.fallback_text}")
    assert "".join(texts).startswith("So") == (heard > 5)
    assert answer.stop_reason == "end_turn"


@pytest.mark.parametrize("heard", range(len(RESPONSES_WORDS) + 1))
async def test_openais_package_takes_it_for_one_response(
    gateway: FakeGateway, make_line: Make, heard: int
) -> None:
    line = make_line(streaming(tell(*RESPONSES_WORDS[:heard]), then=breaks), url=RESPONSES)
    client = openai.AsyncOpenAI(api_key="k", http_client=line.http, max_retries=0)
    async with client.responses.stream(model="own", input="Why?") as stream:
        answer = await stream.get_final_response()

    assert answer.output_text.endswith(f"\n\n{gateway.ledger.fallback_text}")
    assert answer.output_text.startswith("So") == (heard > 5)
    assert answer.status == "completed"
    unfinished = [each for each in answer.output if each.type == "function_call"]
    assert all(each.status == "incomplete" for each in unfinished)


async def test_what_cohere_says_of_its_own_failure_is_replaced(
    gateway: FakeGateway, make_line: Make
) -> None:
    failed = {"type": "message-end", "delta": {"finish_reason": "ERROR"}}
    line = make_line(streaming(tell(*COHERE_WORD, failed)), url=COHERE)

    events = await read(line, COHERE)

    kinds = [each["type"] for each in events]
    assert kinds[2:] == ["content-delta", "content-delta", "content-end", "message-end"]
    assert events[-1]["delta"]["finish_reason"] == "COMPLETE"


async def test_a_thought_is_ended_before_the_text(make_line: Make) -> None:
    thinks = {"message": {"content": {"type": "thinking", "thinking": ""}}}
    begun = {"type": "content-start", "index": 0, "delta": thinks}
    line = make_line(streaming(tell(COHERE_WORD[0], begun), then=breaks), url=COHERE)

    events = await read(line, COHERE)

    assert [(each["type"], each.get("index")) for each in events[2:-1]] == [
        ("content-end", 0),
        ("content-start", 1),
        ("content-delta", 1),
        ("content-end", 1),
    ]


async def test_a_whole_answer_is_left_alone(make_line: Make) -> None:
    events = await read(make_line(streaming(WORD, LAST, DONE)))

    assert [bool(each["choices"]) for each in events] == [True]


@pytest.mark.parametrize(
    ("url", "on_refused", "text"),
    [
        (OPENAI, "raise", "Please try again later."),
        (OPENAI, "fallback", ""),
        (ANTHROPIC, "raise", "Please try again later."),
        (COHERE, "raise", "Please try again later."),
        (RESPONSES, "fallback", ""),
    ],
)
async def test_elsewhere_the_broken_stream_raises(
    gateway: FakeGateway, make_line: Make, url: str, on_refused: str, text: str
) -> None:
    gateway.ledger.fallback_text = text
    line = make_line(streaming(WORD, then=breaks), url=url, on_refused=on_refused)

    with pytest.raises(httpx2.RemoteProtocolError):
        await line.ask(url, stream=True)
