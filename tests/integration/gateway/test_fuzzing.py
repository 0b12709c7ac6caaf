"""Whatever is sent to whatever method, nothing breaks and nothing leaks."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import grpc
import pytest
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings

from headgate.api.gateway.v1 import admin_pb2
from headgate.channel import authorization
from tests.integration.gateway.messages import messages
from tests.integration.gateway.system import ACME_KEY, ADMIN_KEY, PERMIT_KEYS, TOKEN, System
from tests.integration.gateway.test_access import methods

EXAMPLE_COUNT: Final = 20
AT_ONCE: Final = 16
# What a bug would answer, and what no answer may hold.
BROKEN: Final = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS}
LEAKS: Final = (
    "Traceback",
    'File "',
    "asyncpg",
    "SELECT ",
    "INSERT ",
    "UPDATE ",
    "relation ",
    "column ",
    "constraint",
    "postgres",
    TOKEN,
    ADMIN_KEY,
    ACME_KEY,
    PERMIT_KEYS,
)


def examples(method: Any, count: int) -> list[Message]:
    """The same messages in each run."""
    found: list[Message] = []

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(messages(method.input_type))
    def collect(message: Message) -> None:
        found.append(message)

    collect()
    return found


async def send(channel: Any, method: Any, message: Message) -> str | None:
    """Sends one message; answers what is wrong with what came back."""
    service = method.containing_service
    key = ACME_KEY if service.name == "GatewayService" else ADMIN_KEY
    path = f"/{service.full_name}/{method.name}"
    data, metadata = message.SerializeToString(), authorization(key)
    try:
        if method.server_streaming:
            await channel.unary_stream(path)(data, metadata=metadata, timeout=30).read()
        else:
            await channel.unary_unary(path)(data, metadata=metadata, timeout=30)
    except grpc.aio.AioRpcError as error:
        shown = f"{error.code().name} {error.details()} {error.trailing_metadata()}"
        if error.code() in BROKEN or any(leak in shown for leak in LEAKS):
            return f"{path}: {shown[:300]}\n{str(message)[:600]}"
    return None


async def fuzz(system: System, count: int) -> list[str]:
    places = asyncio.Semaphore(AT_ONCE)
    channel = system.channel()

    async def send_one(method: Any, message: Message) -> str | None:
        async with places:
            return await send(channel, method, message)

    found: list[str] = []
    for method in methods("gateway"):
        sent = [send_one(method, message) for message in examples(method, count)]
        found += [each for each in await asyncio.gather(*sent) if each is not None]
    return found


async def test_no_message_breaks_a_method_or_learns_a_secret(system: System) -> None:
    found = await fuzz(system, EXAMPLE_COUNT)

    assert found == [], "\n".join(found[:5])
    # Whoever was stopped, made or changed on the way: the gateway is still there.
    await system.staff().ListApiKeys(admin_pb2.ListApiKeysRequest())


@pytest.mark.slow
async def test_no_message_of_many_breaks_a_method(system: System) -> None:
    assert await fuzz(system, 500) == []
