"""OpenTelemetry: a span for each call, continued by the gateway; nothing without the package."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import grpc
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import headgate
from headgate import tracing
from headgate.testing import API_KEY, Failure, FakeGateway
from tests.integration.headgate.programs import run_program


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    # The process has one provider for good, so this test's own is handed over.
    monkeypatch.setattr(tracing, "_TRACER", provider.get_tracer("headgate"))
    yield exporter
    provider.shutdown()


@pytest.fixture
def fake() -> FakeGateway:
    return FakeGateway()


def find(spans: InMemorySpanExporter, name: str) -> ReadableSpan:
    (span,) = (each for each in spans.get_finished_spans() if each.name == name)
    return span


def continued(fake: FakeGateway) -> list[tuple[int, int]]:
    """Traces and spans that RPCs said they belong to."""
    parts = [each["traceparent"].split("-") for each in fake.metadata]
    return [(int(trace_id, 16), int(span_id, 16)) for _, trace_id, span_id, _ in parts]


async def test_a_call_is_a_span_of_its_caller_and_the_gateway_continues_it(
    fake: FakeGateway, spans: InMemorySpanExporter
) -> None:
    tracer = TracerProvider().get_tracer("backend")
    async with fake.client() as client:
        with tracer.start_as_current_span("request") as parent:
            async with client.call("summarize", max_output_tokens=9) as call:
                current = trace.get_current_span().get_span_context()
                call.report(input_tokens=3, output_tokens=4, cache_read_tokens=2)
            assert trace.get_current_span() is parent

    span = find(spans, "summarize gpt-4o-mini")
    assert span.attributes is not None
    assert span.parent == parent.get_span_context()
    assert span.context == current
    assert span.kind is trace.SpanKind.CLIENT
    assert (
        dict(span.attributes).items()
        >= {
            "gen_ai.operation.name": "summarize",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "gpt-4o-mini",
            "gen_ai.request.max_tokens": 9,
            "gen_ai.usage.input_tokens": 3,
            "gen_ai.usage.output_tokens": 4,
            "gen_ai.usage.cache_read.input_tokens": 2,
            "headgate.call_id": call.call_id,
            "headgate.org": "acme",
        }.items()
    )
    assert continued(fake) == [(current.trace_id, current.span_id)] * 2


async def test_a_batch_links_to_its_calls(fake: FakeGateway, spans: InMemorySpanExporter) -> None:
    async def make_call(client: headgate.Client) -> None:
        async with client.call("summarize") as call:
            call.release()

    async with fake.client() as client:
        await asyncio.gather(*(make_call(client) for _ in range(8)))

    batches = [each for each in spans.get_finished_spans() if each.name == "AdmitCalls"]
    calls = {each.context.span_id for each in spans.get_finished_spans() if each not in batches}
    linked = {link.context.span_id for each in batches for link in each.links}
    assert batches
    assert linked <= calls
    assert len(linked) == sum(size for method, size in fake.rpcs if method == "AdmitCalls")


async def test_what_goes_wrong_stands_in_the_span(
    fake: FakeGateway, spans: InMemorySpanExporter
) -> None:
    async with fake.client() as client:
        with pytest.raises(ConnectionError):
            async with client.call("summarize"):
                raise ConnectionError
        fake.ledger.killed = True
        async with client.call("summarize", on_denied="return"):
            pass
        fake.faults.plant("admit", Failure(code=grpc.StatusCode.INTERNAL, reason="INTERNAL"))
        with pytest.raises(headgate.InternalError):
            await client.call("summarize").__aenter__()

    kinds = [(each.attributes or {}).get("error.type") for each in spans.get_finished_spans()]
    assert kinds == ["ConnectionError", "FENCED", "InternalError"]


async def test_without_a_provider_the_callers_own_trace_is_passed_on(fake: FakeGateway) -> None:
    async with fake.client() as client:
        with TracerProvider().get_tracer("backend").start_as_current_span("request") as parent:
            async with client.call("summarize") as call:
                call.release()
    context = parent.get_span_context()

    assert continued(fake) == [(context.trace_id, context.span_id)] * 2


async def test_without_opentelemetry_all_works(gateway: FakeGateway) -> None:
    text = """
    import sys
    sys.modules["opentelemetry"] = None
    for name in [each for each in sys.modules if each.startswith("headgate")]:
        del sys.modules[name]
    import headgate

    client = headgate.SyncClient(sys.argv[1], api_key=sys.argv[2])
    with client.call("summarize") as call:
        call.report(output_tokens=1)
    assert call.receipt is not None
    assert not headgate.tracing._INSTALLED
    """
    await run_program(text, gateway.target, API_KEY)
