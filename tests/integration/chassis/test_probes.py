"""What a server says about itself: probes and reflection."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from chassis import probes
from tests.integration.chassis.calls import (
    LIVENESS,
    NOT_SERVING,
    READINESS,
    SERVING,
    failure_of,
    hang,
    health_of,
)
from tests.integration.chassis.conftest import Start
from tests.integration.chassis.toy import SERVICE


async def test_readiness_follows_the_checks_and_liveness_does_not(
    start: Start, monkeypatch: pytest.MonkeyPatch, logged: io.StringIO
) -> None:
    monkeypatch.setattr(probes, "CHECK_INTERVAL_SECONDS", 0.01)
    broken = True

    async def check() -> None:
        if broken:
            raise ConnectionError("no database")

    running = await start(ready=check)
    health = health_of(running)
    watch = health.Watch(READINESS)
    at_first = (await watch.read()).status
    liveness = (await health.Check(LIVENESS)).status
    broken = False
    later = (await watch.read()).status
    watch.cancel()

    assert (at_first, liveness, later) == (NOT_SERVING, SERVING, SERVING)
    assert (await health.Check(health_pb2.HealthCheckRequest())).status == SERVING
    log = logged.getvalue()
    assert log.count('"event": "not_ready"') == 1
    assert log.count('"event": "ready_again"') == 1


async def test_a_check_that_hangs_is_a_failed_one(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "CHECK_TIMEOUT_SECONDS", 0.01)
    running = await start(ready=hang)

    assert (await health_of(running).Check(READINESS)).status == NOT_SERVING


async def test_probes_of_unknown_services_are_answered_as_the_protocol_says(start: Start) -> None:
    health = health_of(await start())
    unknown = health_pb2.HealthCheckRequest(service="nobody")
    error = await failure_of(health.Check(unknown))
    watch = health.Watch(unknown)
    first = await watch.read()
    watch.cancel()

    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert first.status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


async def test_reflection_lists_the_services(start: Start) -> None:
    running = await start()
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    open_stub: Any = reflection_pb2_grpc.ServerReflectionStub
    stub = open_stub(running.channel)
    stream = stub.ServerReflectionInfo(iter([request]))
    listed = (await stream.read()).list_services_response.service
    stream.cancel()

    assert {SERVICE, "grpc.health.v1.Health"} <= {service.name for service in listed}


async def test_a_check_that_goes_on_failing_is_one_line(
    start: Start, monkeypatch: pytest.MonkeyPatch, logged: io.StringIO
) -> None:
    monkeypatch.setattr(probes, "CHECK_INTERVAL_SECONDS", 0.01)
    rounds = asyncio.Semaphore(0)

    async def check() -> None:
        rounds.release()
        raise ConnectionError("no database")

    await start(ready=check)
    for _ in range(3):
        await rounds.acquire()

    # One line for one failure, however long it lasts.
    assert logged.getvalue().count('"event": "not_ready"') == 1
