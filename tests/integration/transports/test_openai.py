"""The real `openai` package, governed, against the provider stand-in."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionUserMessageParam

import headgate
from headgate.api.common.v1 import call_pb2
from headgate.testing import FakeGateway
from local.demo.stand_in import StandInProcess

MESSAGE: ChatCompletionUserMessageParam = {"role": "user", "content": "word " * 40}


def governed(
    client: headgate.Client, providers: StandInProcess, **options: Any
) -> openai.AsyncOpenAI:
    urls = {name: f"{providers.url}/{name}/v1" for name in ("demo-openai", "demo-anthropic")}
    http = headgate.governed_async_client(client, operation="chat", providers=urls, **options)
    return openai.AsyncOpenAI(
        base_url=urls["demo-openai"], api_key="sk-test", http_client=http, max_retries=0
    )


@pytest.fixture
async def sdk(
    client: headgate.Client, providers: StandInProcess
) -> AsyncIterator[openai.AsyncOpenAI]:
    async with governed(client, providers) as made:
        yield made


def reports(gateway: FakeGateway) -> list[Any]:
    return [each.report for each in gateway.ledger.entries.values()]


def bill(providers: StandInProcess) -> list[dict[str, Any]]:
    return [json.loads(line) for line in providers.bill_path.read_text().splitlines()]


def check_report(report: Any, line: dict[str, Any]) -> None:
    """The report says what the provider bills."""
    meters = report.meters
    assert meters.input_token_count == line["prompt_tokens"] - line["cached_tokens"]
    assert meters.cache_read_token_count == line["cached_tokens"]
    assert meters.reasoning_token_count == line["reasoning_tokens"]
    assert meters.output_token_count == line["completion_tokens"] - line["reasoning_tokens"]


async def test_a_call_goes_to_the_admitted_model_and_is_reported_as_billed(
    gateway: FakeGateway, sdk: openai.AsyncOpenAI, providers: StandInProcess
) -> None:
    reply = await sdk.chat.completions.create(model="gpt-5", messages=[MESSAGE])
    (report,), (line,) = reports(gateway), bill(providers)

    assert reply.model == "gpt-4o-mini"
    assert (reply.choices[0].message.content or "").startswith("word")
    assert report.outcome == call_pb2.CALL_OUTCOME_SUCCEEDED
    check_report(report, line)


async def test_a_stream_is_reported_as_billed_and_shows_no_usage_that_nobody_asked_for(
    gateway: FakeGateway, sdk: openai.AsyncOpenAI, providers: StandInProcess
) -> None:
    stream = await sdk.chat.completions.create(model="gpt-5", messages=[MESSAGE], stream=True)
    chunks = [chunk async for chunk in stream]
    (report,), (line,) = reports(gateway), bill(providers)

    assert all(chunk.choices and chunk.usage is None for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert report.outcome == call_pb2.CALL_OUTCOME_SUCCEEDED
    check_report(report, line)


async def test_a_stream_shows_the_usage_that_the_caller_asked_for(
    sdk: openai.AsyncOpenAI, providers: StandInProcess
) -> None:
    stream = await sdk.chat.completions.create(
        model="gpt-5", messages=[MESSAGE], stream=True, stream_options={"include_usage": True}
    )
    last = [chunk async for chunk in stream][-1]

    assert last.usage is not None
    assert last.usage.prompt_tokens == bill(providers)[0]["prompt_tokens"]


async def test_an_outage_of_the_first_provider_is_survived_by_the_second(
    gateway: FakeGateway, sdk: openai.AsyncOpenAI, providers: StandInProcess
) -> None:
    await providers.set_outage("demo-openai", seconds=60)
    reply = await sdk.chat.completions.create(model="gpt-5", messages=[MESSAGE])
    first, second = gateway.ledger.entries.values()

    assert reply.model == "claude-haiku"
    assert second.parent_call_id == first.call_id
    assert [each.outcome for each in reports(gateway)] == [
        call_pb2.CALL_OUTCOME_PROVIDER_FAILED,
        call_pb2.CALL_OUTCOME_SUCCEEDED,
    ]


async def test_when_every_candidate_fails_the_providers_own_error_is_raised(
    gateway: FakeGateway, sdk: openai.AsyncOpenAI, providers: StandInProcess
) -> None:
    for name in ("demo-openai", "demo-anthropic"):
        await providers.set_outage(name, seconds=60)

    with pytest.raises(openai.InternalServerError):
        await sdk.chat.completions.create(model="gpt-5", messages=[MESSAGE])
    assert gateway.ledger.held_nanos("acme") == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_a_denial_reaches_no_provider_and_is_raised_as_it_is(
    gateway: FakeGateway, client: headgate.Client, providers: StandInProcess, stream: bool
) -> None:
    gateway.ledger.killed = True
    sdk = governed(client, providers).with_options(max_retries=2)

    with pytest.raises(headgate.Denied) as denied:
        await sdk.chat.completions.create(model="gpt-5", messages=[MESSAGE], stream=stream)
    assert denied.value.fallback_text == gateway.ledger.fallback_text
    assert gateway.count("AdmitCall") == 1
    assert bill(providers) == []


async def test_a_denial_can_be_answered_by_the_fallback_text(
    gateway: FakeGateway, client: headgate.Client, providers: StandInProcess
) -> None:
    gateway.ledger.killed = True
    sdk = governed(client, providers, on_denied="fallback")
    reply = await sdk.chat.completions.create(model="gpt-5", messages=[MESSAGE])
    stream = await sdk.chat.completions.create(model="gpt-5", messages=[MESSAGE], stream=True)
    streamed = [chunk.choices[0].delta.content or "" async for chunk in stream]

    assert reply.choices[0].message.content == gateway.ledger.fallback_text
    assert "".join(streamed) == gateway.ledger.fallback_text
