"""The log, the metrics page and the traces of a server of toys."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import re
import urllib.request
from typing import Any

import pytest
import structlog
from google.protobuf.empty_pb2 import Empty
from google.protobuf.wrappers_pb2 import StringValue
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from chassis import telemetry
from chassis.config import ConfigError
from chassis.errors import NotFound
from tests.integration.chassis import toy
from tests.integration.chassis.calls import TOKEN, failure_of
from tests.integration.chassis.conftest import Running, Start
from tests.integration.chassis.toy import Stub

SAMPLED = ("traceparent", f"00-{'1' * 32}-{'2' * 16}-01")
NOT_SAMPLED = ("traceparent", f"00-{'1' * 32}-{'2' * 16}-00")


async def scrape(running: Running) -> str:
    """The metrics page as a scraper gets it."""
    url = f"http://127.0.0.1:{running.telemetry.metrics_port}/metrics"

    def get() -> str:
        with urllib.request.urlopen(url, timeout=10) as answer:
            text: str = answer.read().decode()
            return text

    return await asyncio.to_thread(get)


async def test_the_metrics_page_counts_rpcs_by_method_and_code(start: Start) -> None:
    running = await start(metrics_address="127.0.0.1:0")
    running.toy.failures["x"] = NotFound("call", "x")
    for _ in range(3):
        await running.stub.Echo(StringValue(value="hello"))
    await failure_of(running.stub.Echo(StringValue(value="x")))
    running.telemetry.meter.create_counter("toys", unit="1").add(2, {"colour": "red"})
    page = await scrape(running)

    counts = re.findall(r'_seconds_count\{rpc_grpc_status_code="(\d+)",(.*)\} (.*)', page)
    name = f'rpc_method="Echo",rpc_service="{toy.SERVICE}"'
    assert sorted(counts) == [("0", name, "3.0"), ("5", name, "1.0")]
    assert [line for line in page.splitlines() if line.startswith("toys_total{")] != []


async def test_without_an_address_there_is_no_page(start: Start) -> None:
    assert (await start()).telemetry.metrics_port is None


async def test_a_metrics_address_that_is_taken_is_named(start: Start) -> None:
    running = await start(metrics_address="127.0.0.1:0")
    address = f"127.0.0.1:{running.telemetry.metrics_port}"

    with pytest.raises(ConfigError, match=f"metrics address {address}: .* in use"):
        telemetry.setup(toy.settings(metrics_address=address), "toy")


async def test_every_line_of_the_log_is_one_json_object_without_secrets(
    start: Start, logged: io.StringIO
) -> None:
    running = await start(log_level="debug")
    running.toy.failures["x"] = RuntimeError("two\nlines")
    await failure_of(running.stub.Echo(StringValue(value="x")))
    await failure_of(Stub(running.plain).Echo(StringValue(value="x"), metadata=TOKEN))
    structlog.get_logger().info("of ours", rows=3)
    logging.getLogger("somebody else's").warning("of a %s", "library")
    await running.server.drain()
    lines: list[dict[str, Any]] = [json.loads(line) for line in logged.getvalue().splitlines()]

    assert [line["event"] for line in lines][:4] == [
        "internal_error",
        "internal_error",
        "of ours",
        "of a library",
    ]
    assert all(line["service"] == "toy" for line in lines)
    assert all(line["timestamp"].endswith("Z") for line in lines)
    assert lines[2]["level"] == "info"
    assert lines[3]["level"] == "warning"
    assert toy.TOKEN not in logged.getvalue()


async def test_lines_below_the_level_are_not_written(start: Start, logged: io.StringIO) -> None:
    running = await start(log_level="error", log_format="console")
    structlog.get_logger().warning("quiet")
    structlog.get_logger().error("loud")
    await running.server.drain()

    assert "quiet" not in logged.getvalue()
    assert "loud" in logged.getvalue()


async def test_a_call_that_its_caller_traces_has_a_span_and_its_log_lines_say_so(
    start: Start, logged: io.StringIO
) -> None:
    exporter = InMemorySpanExporter()
    running = await start(exporter=exporter, trace_sample_ratio=0.0)
    running.toy.failures["x"] = RuntimeError("a bug")
    stub = Stub(running.plain)
    for value in ("hello", "x"):
        call = stub.Echo(StringValue(value=value), metadata=(*TOKEN, SAMPLED))
        await asyncio.wait({asyncio.ensure_future(call.code())})
    await stub.Echo(StringValue(value="hello"), metadata=(*TOKEN, NOT_SAMPLED))
    await stub.Echo(StringValue(value="hello"), metadata=TOKEN)
    running.telemetry.__exit__(None, None, None)
    spans = exporter.get_finished_spans()

    assert [span.name for span in spans] == [f"{toy.SERVICE}/Echo"] * 2
    assert {f"{span.context.trace_id:032x}" for span in spans} == {"1" * 32}
    assert [span.kind for span in spans] == [SpanKind.SERVER] * 2
    assert [span.status.status_code for span in spans] == [StatusCode.UNSET, StatusCode.ERROR]
    assert [dict(span.attributes or {})["rpc.grpc.status_code"] for span in spans] == [0, 13]
    (line,) = [json.loads(each) for each in logged.getvalue().splitlines()]
    assert line["trace_id"] == "1" * 32


async def test_chance_decides_where_nobody_upstream_did(start: Start) -> None:
    running = await start(exporter=InMemorySpanExporter(), trace_sample_ratio=1.0)
    stub = Stub(running.plain)
    begun = (await stub.Describe(Empty(), metadata=TOKEN)).value.split()[-1]
    forbidden = (await stub.Describe(Empty(), metadata=(*TOKEN, NOT_SAMPLED))).value.split()[-1]

    assert int(begun, 16) != 0
    assert int(forbidden, 16) == 0


async def test_work_without_a_call_begins_no_trace(start: Start) -> None:
    running = await start(exporter=InMemorySpanExporter(), trace_sample_ratio=1.0)
    with running.telemetry.tracer.start_as_current_span("a query") as span:
        name, traceparent = telemetry.trace_metadata()

    assert not span.is_recording()
    assert name == "traceparent"
    assert int(traceparent.rpartition("-")[2], 16) & 1 == 0


async def test_traces_go_to_the_collector(start: Start, unused_tcp_port: int) -> None:
    # Nobody listens there: what cannot be sent must hold up neither calls nor the end.
    running = await start(
        otlp_endpoint=f"http://127.0.0.1:{unused_tcp_port}", trace_sample_ratio=0.0
    )

    assert (await running.stub.Echo(StringValue(value="x"))).value == "x"
