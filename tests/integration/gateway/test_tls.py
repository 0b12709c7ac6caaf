"""All four with certificates: they show each other theirs, and backends theirs to nobody."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
import pytest_asyncio
import trustme

import headgate
from headgate.api.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from headgate.channel import Tls
from tests.integration.chassis.test_tls import Folder
from tests.integration.gateway.system import ACME_KEY, System, build_system
from tests.postgres import Clone


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest_asyncio.fixture
async def system(clone: Clone, tmp_path: Path, authority: trustme.CA) -> AsyncIterator[System]:
    system = System(await clone("system", build_system))
    try:
        for name in ("accounting", "admission", "health", "gateway"):
            files = Folder(tmp_path / name)
            files.write(authority.issue_cert("127.0.0.1"), authority)
            await system.start(name, **files.fields)
        yield system
    finally:
        await system.close()


async def call(target: str, tls: Tls | None) -> str:
    """Makes one call; returns how it was admitted."""
    async with (
        headgate.Client(target, api_key=ACME_KEY, tls=tls, on_unreachable="raise") as client,
        client.call("summarize") as call,
    ):
        call.report(input_tokens=1, output_tokens=1)
        return call.model
    raise AssertionError


async def test_a_call_is_admitted_and_booked_over_tls_alone(
    system: System, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = system.addresses["gateway"]
    trusted = tmp_path / "authority.pem"
    trusted.write_bytes(authority.cert_pem.bytes())

    assert await call(target, Tls(root_certificates=authority.cert_pem.bytes()))
    monkeypatch.setenv("HEADGATE_TLS_CA_FILE", str(trusted))
    assert await call(target, None)
    booked = await system.fetch("accounting", "SELECT FROM usage_log")
    assert len(booked) == 2
    monkeypatch.setenv("HEADGATE_TLS_CA_FILE", str(tmp_path / "nowhere.pem"))
    with pytest.raises(ValueError, match="HEADGATE_TLS_CA_FILE: can't read"):
        await call(target, None)


async def test_whoever_trusts_another_authority_or_none_is_not_served(
    system: System, authority: trustme.CA
) -> None:
    stranger = Tls(root_certificates=trustme.CA().cert_pem.bytes())

    with pytest.raises(headgate.Unavailable):
        await call(system.addresses["gateway"], stranger)
    # In plain text, and with the gateway's authority but without a certificate for the inner ones.
    roots = grpc.ssl_channel_credentials(authority.cert_pem.bytes())
    for name in ("gateway", "admission", "accounting", "health"):
        address = system.addresses[name]
        channels = [grpc.aio.insecure_channel(address)]
        if name != "gateway":
            channels.append(grpc.aio.secure_channel(address, roots))
        for channel in channels:
            async with channel:
                ask = gateway_pb2_grpc.GatewayServiceStub(channel).GetStatus
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await ask(gateway_pb2.GetStatusRequest(), timeout=10)
                assert refused.value.code() is grpc.StatusCode.UNAVAILABLE, name
