"""The gateway as a process: its commands, and how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from headgate.api.gateway.v1 import gateway_pb2
from tests.integration.gateway.system import (
    ACME_KEY,
    ADMIN_KEY,
    NOWHERE,
    PERMIT_KEYS,
    TOKEN,
    System,
    build_system,
    new_id,
)
from tests.postgres import CHECKOUT, Clone
from tests.schemas import runtime_url

PREFIX = "HEADGATE_GATEWAY_"
OTHER_KEY = "hg_admin_" + "Z" * 43


def environment(system: System) -> dict[str, str]:
    """Of a gateway for the system, which may be one without any service running."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HEADGATE")}
    peers = {
        f"{PREFIX}{peer.upper()}_ADDRESSES": system.addresses.get(peer, NOWHERE)
        for peer in ("admission", "accounting", "health")
    }
    return kept | peers | {
        f"{PREFIX}LISTEN_ADDRESS": "127.0.0.1:0",
        f"{PREFIX}DATABASE_URL": runtime_url(system.url, "gateway"),
        f"{PREFIX}SERVICE_TOKEN": TOKEN,
        f"{PREFIX}PERMIT_KEYS": PERMIT_KEYS,
        f"{PREFIX}BOOTSTRAP_ADMIN_KEY": ADMIN_KEY,
    }  # fmt: skip


async def run(*words: str, env: dict[str, str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", *words, cwd=CHECKOUT, env=env,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def test_it_serves_until_it_is_told_to_stop_and_finishes_what_it_began(
    system: System,
) -> None:
    process = await run("serve", env=environment(system))
    assert process.stdout is not None
    listening = json.loads(await process.stdout.readline())
    system.addresses["process"] = listening["address"]
    backend = system.backend(at="process")
    probe: Any = health_pb2_grpc.HealthStub(system.channel("process"))
    ready = await probe.Check(health_pb2.HealthCheckRequest(service="readiness"), timeout=5)

    calls = [
        backend.AdmitCall(gateway_pb2.AdmitCallRequest(call_id=new_id(), operation="summarize"))
        for _ in range(30)
    ]
    answered = await calls[0]
    process.send_signal(signal.SIGTERM)
    rest = await asyncio.gather(*calls[1:], return_exceptions=True)
    _, errors = await process.communicate()

    assert listening["event"] == "listening"
    assert ready.status == health_pb2.HealthCheckResponse.SERVING
    assert answered.decision.admission.call_id
    # What it had begun it finished; what came too late may go to another replica.
    codes = {each.code() for each in rest if isinstance(each, grpc.aio.AioRpcError)}
    assert codes <= {grpc.StatusCode.UNAVAILABLE}
    assert process.returncode == 0, errors
    assert b"Traceback" not in errors
    for secret in (TOKEN, ADMIN_KEY, ACME_KEY, PERMIT_KEYS):
        assert secret.encode() not in errors


@pytest.mark.parametrize(
    ("words", "change", "code", "said"),
    [
        (["check-config"], {}, 0, b""),
        (["job", "bootstrap"], {}, 0, b"bootstrapped"),
        (["job", "bootstrap"], {"BOOTSTRAP_ADMIN_KEY": OTHER_KEY}, 1, b"another secret"),
        (["check-config"], {"PERMIT_KEYS": "k:00"}, 2, b"HEADGATE_GATEWAY_PERMIT_KEYS: entry 1"),
        (["check-config"], {"PERMIT_KEY": "k:00"}, 2, b"mean HEADGATE_GATEWAY_PERMIT_KEYS"),
        (["migrate"], {}, 2, b"HEADGATE_GATEWAY_OWNER_DATABASE_URL is not set"),
        (["serve"], {"LISTEN_ADDRESS": "0.0.0.0:0"}, 2, b"_LISTEN_ADDRESS is not loopback: set"),
        (["serve"], {"HTTP_LISTEN_ADDRESS": "0.0.0.0:0"}, 2, b"HTTP_LISTEN_ADDRESS is not loop"),
    ],
    ids=["good", "bootstrap", "other secret", "bad keys", "mistyped", "no owner", "open", "http"],
)  # fmt: skip
async def test_a_command_ends_with_a_code_and_one_line(
    clone: Clone, words: list[str], change: dict[str, str], code: int, said: bytes
) -> None:
    system = System(await clone("system", build_system))
    env = environment(system) | {PREFIX + name: value for name, value in change.items()}

    process = await run(*words, env=env)
    _, errors = await process.communicate()

    assert process.returncode == code, errors
    assert said in errors
    assert errors.count(b"\n") <= 1
