"""Health as a process of its own: the same commands that an operator and a CronJob run."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc
import pytest
import structlog

from chassis.peers import open_channel
from chassis.telemetry import setup
from headgate.api.common.v1 import health_pb2 as common_pb2
from headgate.api.health.v1 import health_pb2 as pb
from headgate.api.health.v1 import health_pb2_grpc
from services.health.__main__ import prune
from tests.integration.health.admission import PATIENCE_SECONDS, StandIn
from tests.integration.health.replicas import (
    TOKEN,
    end_permits,
    execute,
    fetch,
    serve_replica,
    settings_of,
)
from tests.integration.health.test_watch import OPEN, fail_five, next_change
from tests.postgres import CHECKOUT
from tests.schemas import runtime_url

KILL = pb.KillRequest(reason="runaway agent", actor="ada", audit_id="a-1")


@dataclass(frozen=True)
class Served:
    process: asyncio.subprocess.Process
    stub: health_pb2_grpc.HealthServiceAsyncStub


async def start(url: str, *arguments: str, **settings: str) -> asyncio.subprocess.Process:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("HEADGATE_")}
    environment = {
        "DATABASE_URL": runtime_url(url, "health"),
        "SERVICE_TOKEN": TOKEN,
        "LISTEN_ADDRESS": "127.0.0.1:0",
        "ADMISSION_ADDRESSES": "127.0.0.1:1",
        "DRAIN_SECONDS": "2",
    } | settings
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.health",
        *arguments,
        cwd=CHECKOUT,
        env=inherited | {f"HEADGATE_HEALTH_{name}": text for name, text in environment.items()},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


@asynccontextmanager
async def served(url: str, **settings: str) -> AsyncIterator[Served]:
    """A serving process, ended with the block however that ends."""
    process = await start(url, "serve", **settings)
    try:
        assert process.stdout is not None
        line = json.loads(await process.stdout.readline())
        async with open_channel((line["address"],), settings_of(url)) as channel:
            yield Served(process, health_pb2_grpc.HealthServiceStub(channel))
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_a_kill_outlives_the_death_of_the_replica_that_took_it(
    url: str, admission: str, stand_in: StandIn
) -> None:
    stand_in.answers.clear()
    async with served(url, ADMISSION_ADDRESSES=admission) as first:
        killing = asyncio.ensure_future(first.stub.Kill(KILL))
        await stand_in.arrived()
        first.process.kill()
        with pytest.raises(grpc.aio.AioRpcError):
            await killing
    stand_in.answers.set()

    async with served(url, ADMISSION_ADDRESSES=admission) as second:
        stream = aiter(second.stub.Watch(pb.WatchRequest()))
        states: list[int] = []
        async with asyncio.timeout(PATIENCE_SECONDS):
            while common_pb2.KILL_STATE_IN_FORCE not in states:
                states += [kill.state for kill in (await next_change(stream)).kills]

    assert stand_in.fence.active
    assert {request.sequence for request in stand_in.requests} == {1}


async def test_sigterm_ends_it_cleanly_with_a_stream_open(url: str) -> None:
    async with served(url) as replica:
        stream = aiter(replica.stub.Watch(pb.WatchRequest()))
        await next_change(stream)
        replica.process.send_signal(signal.SIGTERM)
        with pytest.raises(grpc.aio.AioRpcError):
            await next_change(stream)
        output, _ = await replica.process.communicate()

    assert (replica.process.returncode, output) == (0, b"")


async def test_the_job_deletes_expired_permits_and_says_how_many(url: str) -> None:
    await execute(url, "INSERT INTO circuit (provider) VALUES ('openai')")
    await execute(
        url,
        "INSERT INTO circuit_permit"
        " SELECT 'openai', '', '', 'acme', gen_random_uuid(), 2, now()"
        " FROM generate_series(1, 3)",
    )
    await end_permits(url)

    process = await start(url, "job", "prune-probes")
    _, log = await process.communicate()

    assert process.returncode == 0
    [line] = [json.loads(each) for each in log.splitlines()]
    assert (line["event"], line["count"]) == ("probes_pruned", 3)
    assert await fetch(url, "SELECT * FROM circuit_permit") == []


async def test_the_job_runs_on_a_pool_of_its_own(url: str) -> None:
    settings = settings_of(url)
    with setup(settings, "health"):
        await prune(settings)
    structlog.reset_defaults()

    assert await fetch(url, "SELECT * FROM circuit_permit") == []


async def test_a_wrong_setting_is_one_line_that_names_it(url: str) -> None:
    process = await start(url, "check-config", PROBE_COUNT="many")
    _, complaint = await process.communicate()

    assert process.returncode == 2
    [line] = complaint.decode().splitlines()
    assert "HEADGATE_HEALTH_PROBE_COUNT" in line


async def test_behind_a_transaction_pooler_the_poll_alone_brings_the_news(url: str) -> None:
    async with serve_replica(settings_of(url, database_statement_cache_size=0)) as replica:
        stream = aiter(replica.stub.Watch(pb.WatchRequest()))
        await next_change(stream)
        await fail_five(replica)

        [provider] = (await next_change(stream)).providers
        listening = await fetch(
            url,
            "SELECT 1 FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = 'headgate-health-listen'",
        )
    assert provider.state == OPEN
    assert listening == []
