"""The decorator: plain functions, coroutine functions, generators of both kinds, methods."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

import headgate
from headgate.api.common.v1 import call_pb2
from headgate.api.gateway.v1 import gateway_pb2
from headgate.testing import INPUT_NANOS, OUTPUT_NANOS, FakeGateway
from headgate.testing.plugin import headgate_gateway  # noqa: F401 - a fixture

FIRST = "openai"
FALLBACK = "Please try again later."


@headgate.governed("summarize", input_bytes=lambda text: len(text.encode()), max_output_tokens=10)
async def summarize(call: headgate.Call, text: str) -> str:
    """Sums it up."""
    if text == "fail" and call.provider == FIRST:
        raise ConnectionError
    call.report(output_tokens=len(text))
    return f"{call.provider}: {text}"


@headgate.governed("summarize", on_refused="fallback", max_output_tokens=10)
def summarize_blocking(call: headgate.SyncCall, text: str, *, shout: bool = False) -> str:
    if text == "fail":
        raise ConnectionError
    call.report(output_tokens=len(text))
    return text.upper() if shout else text


@headgate.governed("summarize", on_refused="fallback", max_output_tokens=10)
async def tokens(call: headgate.Call, count: int) -> AsyncIterator[str]:
    if call.provider == FIRST:
        raise ConnectionError
    for number in range(count):
        call.report(output_tokens=number + 1)
        yield str(number)


@headgate.governed("summarize", on_refused="fallback", max_output_tokens=10)
def tokens_blocking(call: headgate.SyncCall, count: int) -> Iterator[str]:
    for number in range(count):
        call.report(output_tokens=number + 1)
        yield str(number)


class Assistant:
    def __init__(self, name: str) -> None:
        self.name = name

    @headgate.governed("chat", input_tokens=7)
    async def ask(self, call: headgate.Call, question: str) -> str:
        call.report(output_tokens=1)
        return f"{self.name}: {question}"

    @headgate.governed("chat")
    def ask_blocking(self, call: headgate.SyncCall, question: str) -> str:
        call.report(output_tokens=1)
        return f"{self.name}: {question}"


@pytest.fixture
def fake(headgate_gateway: FakeGateway) -> FakeGateway:  # noqa: F811 - it is that fixture
    return headgate_gateway


def reports(fake: FakeGateway) -> list[gateway_pb2.CompleteCallRequest]:
    return [each.report for each in fake.ledger.entries.values() if each.report is not None]


async def test_a_coroutine_function_is_governed(fake: FakeGateway) -> None:
    assert await summarize("text") == "openai: text"
    (entry,) = fake.ledger.entries.values()

    assert entry.admission is not None
    assert entry.admission.held_nanos == 4 * INPUT_NANOS + 10 * OUTPUT_NANOS
    assert fake.ledger.settled_nanos("acme") == 4 * OUTPUT_NANOS
    assert (summarize.__name__, summarize.__doc__) == ("summarize", "Sums it up.")
    assert inspect.iscoroutinefunction(summarize)


async def test_the_next_candidate_is_called_with_the_same_arguments(fake: FakeGateway) -> None:
    assert await summarize(text="fail") == "anthropic: fail"
    assert [each.outcome for each in reports(fake)] == [
        call_pb2.CALL_OUTCOME_PROVIDER_FAILED,
        call_pb2.CALL_OUTCOME_SUCCEEDED,
    ]


async def test_a_refusal_is_raised_unless_the_fallback_is_wanted(fake: FakeGateway) -> None:
    fake.ledger.killed = True
    with pytest.raises(headgate.Denied):
        await summarize("text")
    assert await asyncio.to_thread(summarize_blocking, "text") == FALLBACK
    assert [token async for token in tokens(3)] == [FALLBACK]
    assert await asyncio.to_thread(list, tokens_blocking(3)) == [FALLBACK]


def test_a_plain_function_is_governed(fake: FakeGateway) -> None:
    assert summarize_blocking("text", shout=True) == "TEXT"
    assert summarize_blocking("fail") == FALLBACK
    assert len(reports(fake)) == 3


def test_plain_functions_of_many_threads_are_governed(fake: FakeGateway) -> None:
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(summarize_blocking, map(str, range(64))))

    assert answers == [str(number) for number in range(64)]
    assert len(reports(fake)) == 64


async def test_a_generator_is_governed_until_it_has_yielded(fake: FakeGateway) -> None:
    assert inspect.isasyncgenfunction(tokens)
    assert [token async for token in tokens(3)] == ["0", "1", "2"]

    first, second = reports(fake)
    assert first.outcome == call_pb2.CALL_OUTCOME_PROVIDER_FAILED
    assert second.meters.output_token_count == 3


async def test_a_generator_that_is_left_early_is_charged_at_what_it_gave(
    fake: FakeGateway,
) -> None:
    stream = tokens(9)
    assert [await anext(stream), await anext(stream)] == ["0", "1"]
    await stream.aclose()  # type: ignore[attr-defined] # it is a generator
    await fake.wait_until(lambda: len(reports(fake)) == 2)

    last = reports(fake)[-1]
    assert last.outcome == call_pb2.CALL_OUTCOME_ABORTED
    assert last.meters.output_token_count == 2


def test_a_plain_generator_is_governed(fake: FakeGateway) -> None:
    assert inspect.isgeneratorfunction(tokens_blocking)
    assert list(tokens_blocking(3)) == ["0", "1", "2"]
    assert fake.ledger.settled_nanos("acme") == 3 * OUTPUT_NANOS


async def test_methods_have_the_call_after_self(fake: FakeGateway) -> None:
    assistant = Assistant("Ann")

    assert await assistant.ask("who?") == "Ann: who?"
    assert await asyncio.to_thread(assistant.ask_blocking, "why?") == "Ann: why?"


async def test_a_function_may_have_a_client_of_its_own() -> None:
    fake = FakeGateway()
    async with fake.client() as client:

        @headgate.governed("summarize", client=client.for_user("u-1"))
        async def ask(call: headgate.Call) -> str:
            call.report(output_tokens=1)
            return call.call_id

        call_id = await ask()
    assert fake.ledger.entry(call_id).settled_nanos == OUTPUT_NANOS


def test_a_function_without_a_call_is_refused() -> None:
    with pytest.raises(TypeError, match="needs a first parameter named 'call'"):

        @headgate.governed("summarize")  # type: ignore[arg-type] # so says the type checker, too
        def ask(text: str, other: str, call: headgate.SyncCall) -> None: ...


async def test_a_client_of_the_other_kind_is_refused() -> None:
    fake = FakeGateway()
    client, blocking = fake.client(), fake.sync_client()

    @headgate.governed("summarize", client=blocking)
    async def ask(call: headgate.Call) -> None: ...

    @headgate.governed("summarize", client=client)
    def ask_blocking(call: headgate.SyncCall) -> None: ...

    with pytest.raises(TypeError, match=r"needs a headgate\.Client"):
        await ask()
    with pytest.raises(TypeError, match=r"needs a headgate\.SyncClient"):
        ask_blocking()
