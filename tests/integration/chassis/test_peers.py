"""Channels to servers of toys: who is asked, with what, and what happens when one goes away."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from google.protobuf.wrappers_pb2 import StringValue
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from chassis.config import ConfigError
from chassis.peers import open_channel
from tests.integration.chassis import toy
from tests.integration.chassis.conftest import Running, Start
from tests.integration.chassis.toy import Stub

TLS = Path(__file__).parent / "tls"
# Of an authority whose key nobody kept; for this machine's loopback only.
CERTIFICATES = {
    "tls_certificate_file": TLS / "certificate.pem",
    "tls_key_file": TLS / "key.pem",
    "tls_client_ca_file": TLS / "authority.pem",
}


def together(*servers: Running) -> grpc.aio.Channel:
    return open_channel(tuple(f"127.0.0.1:{each.port}" for each in servers), toy.settings())


async def ask(stub: Stub) -> str:
    """Asks whoever's turn it is for its name."""
    answer: str = (await stub.Echo(StringValue(), wait_for_ready=True, timeout=10)).value
    return answer


async def named(start: Start, name: str, **fields: Any) -> Running:
    running = await start(**fields)
    running.toy.name = name
    return running


async def test_calls_go_round_all_addresses(start: Start) -> None:
    servers = [await named(start, name) for name in ("a", "b")]
    async with together(*servers) as channel:
        await channel.channel_ready()
        stub = Stub(channel)
        async with asyncio.timeout(5):
            while {await ask(stub), await ask(stub)} != {"a", "b"}:
                continue
        asked = Counter([await ask(stub) for _ in range(20)])

    assert asked == {"a": 10, "b": 10}


async def test_the_other_replica_serves_when_one_has_gone_and_the_first_when_it_is_back(
    start: Start,
) -> None:
    first, second = [await named(start, name) for name in ("a", "b")]
    async with together(first, second) as channel:
        stub = Stub(channel)
        await first.server.drain()
        assert {await ask(stub) for _ in range(10)} == {"b"}

        await named(start, "a again", listen_address=f"127.0.0.1:{first.port}")
        async with asyncio.timeout(10):
            while await ask(stub) != "a again":
                continue
        await second.server.drain()
        assert {await ask(stub) for _ in range(10)} == {"a again"}


async def test_a_channel_connects_again_after_its_only_server_was_away(start: Start) -> None:
    running = await start()
    address = f"127.0.0.1:{running.port}"
    async with open_channel((address,), toy.settings()) as channel:
        stub = Stub(channel)
        await stub.Echo(StringValue(value="x"))
        await running.server.drain()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Echo(StringValue(value="x"))
        await start(listen_address=address)

        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert (await stub.Echo(StringValue(value="x"), wait_for_ready=True, timeout=10)).value


async def test_a_trace_goes_on_at_the_peer(start: Start) -> None:
    exporter = InMemorySpanExporter()
    running = await start(exporter=exporter, trace_sample_ratio=0.0)
    without = (await running.stub.Describe(Empty())).value.split()[-1]
    with running.telemetry.tracer.start_as_current_span("work", kind=SpanKind.CONSUMER) as span:
        inside = (await running.stub.Describe(Empty())).value.split()[-1]
    trace_id = f"{span.get_span_context().trace_id:032x}"

    assert without == "0" * 32
    assert inside == trace_id


async def test_the_callers_own_metadata_is_kept(start: Start) -> None:
    running = await start()
    metadata = (("traceparent", "00-" + "1" * 32 + "-" + "2" * 16 + "-00"),)

    assert await running.stub.Echo(StringValue(value="x"), metadata=metadata)


async def test_its_state_can_be_followed(start: Start) -> None:
    running = await start()
    async with open_channel((f"127.0.0.1:{running.port}",), toy.settings()) as channel:
        state = channel.get_state(try_to_connect=True)
        while state is not grpc.ChannelConnectivity.READY:
            await channel.wait_for_state_change(state)
            state = channel.get_state()


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (("a.example:1", "b.example:1"), "one name that resolves to all replicas"),
        (("127.0.0.1:1", "[::1]:1"), "of one version"),
        (("10.0.0.1:7401",), "10.0.0.1:7401 is not loopback: set the three TLS files"),
        (("127.0.0.1:1", "10.0.0.1:1"), "10.0.0.1:1 is not loopback"),
    ],
)
async def test_targets_that_cannot_be_one_or_would_tell_the_token_are_refused(
    target: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        open_channel(target, toy.settings())


async def test_services_show_each_other_certificates(start: Start) -> None:
    running = await start(**CERTIFICATES)
    plain = open_channel((f"127.0.0.1:{running.port}",), toy.settings())
    # Whoever knows the authority alone has no certificate to show.
    authority = grpc.ssl_channel_credentials(CERTIFICATES["tls_client_ca_file"].read_bytes())
    anonymous = grpc.aio.secure_channel(f"127.0.0.1:{running.port}", authority)

    assert (await running.stub.Echo(StringValue(value="x"))).value == "x"
    for channel in (plain, anonymous):
        async with channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await Stub(channel).Echo(StringValue(value="x"))
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
