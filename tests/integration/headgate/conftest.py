from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import grpc.aio
import pytest
import pytest_asyncio

import headgate
from headgate.api.gateway.v1 import gateway_pb2_grpc
from headgate.testing import API_KEY, FakeGateway, serve_gateway
from tests.integration.gateway.system import ACME_KEY, GLOBEX_KEY, Keyed
from tests.integration.headgate.real import running_system

if TYPE_CHECKING:
    from headgate.api.gateway.v1.gateway_pb2_grpc import GatewayServiceAsyncStub


@pytest.fixture
async def gateway() -> AsyncIterator[FakeGateway]:
    async with serve_gateway() as fake:
        yield fake


@pytest.fixture
async def client(gateway: FakeGateway) -> AsyncIterator[headgate.Client]:
    async with headgate.Client(gateway.target, api_key=API_KEY) as made:
        yield made


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What the client logs, whatever a server in this process made of the loggers."""
    caplog.set_level(logging.WARNING, "headgate")
    return caplog


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["memory", "fake", "real"])
async def stub(
    request: pytest.FixtureRequest, postgres_url: str, pytestconfig: pytest.Config
) -> AsyncIterator[GatewayServiceAsyncStub]:
    fake = FakeGateway(keys={ACME_KEY: ("acme",), GLOBEX_KEY: ("globex",)})
    async with contextlib.AsyncExitStack() as stack:
        if request.param == "real":
            system = await stack.enter_async_context(running_system(postgres_url, pytestconfig))
            channel = grpc.aio.insecure_channel(system.addresses["gateway"])
        elif request.param == "fake":
            await stack.enter_async_context(serve_gateway(fake))
            channel = grpc.aio.insecure_channel(fake.target)
        else:
            channel = fake.open_channel()
        await stack.enter_async_context(channel)
        yield gateway_pb2_grpc.GatewayServiceStub(channel)


@pytest.fixture
def acme(stub: GatewayServiceAsyncStub) -> Keyed:
    return Keyed(stub, ACME_KEY)


@pytest.fixture
def globex(stub: GatewayServiceAsyncStub) -> Keyed:
    return Keyed(stub, GLOBEX_KEY)
