"""The real process: its commands, its end in the middle of everything, and what is left then."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import psutil

from chassis.database import Connection
from headgate.api.accounting.v1 import accounting_pb2 as pb
from services.accounting.config import AccountingSettings
from services.accounting.verification import find_differences
from tests.integration.accounting.replicas import Stub, open_stub
from tests.integration.accounting.samples import message, now
from tests.postgres import CHECKOUT

# Of resident memory, with the price book read.
MEMORY_BYTES_MAX = 150 * 10**6


def environment(settings: AccountingSettings) -> dict[str, str]:
    assert settings.channel_keys is not None
    return {
        "HEADGATE_ACCOUNTING_LISTEN_ADDRESS": "127.0.0.1:0",
        "HEADGATE_ACCOUNTING_DATABASE_URL": settings.database_url.get_secret_value(),
        "HEADGATE_ACCOUNTING_SERVICE_TOKEN": settings.service_token.get_secret_value(),
        "HEADGATE_ACCOUNTING_CHANNEL_KEYS": settings.channel_keys.get_secret_value(),
        "HEADGATE_ACCOUNTING_DELIVERY_NETWORKS": ",".join(settings.delivery_networks),
    }


async def start(settings: AccountingSettings, *command: str) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.accounting",
        *command,
        cwd=CHECKOUT,
        env=environment(settings),
        stdout=PIPE,
        stderr=PIPE,
    )


@asynccontextmanager
async def served(settings: AccountingSettings) -> AsyncIterator[tuple[Process, Stub]]:
    process = await start(settings, "serve")
    try:
        assert process.stdout is not None
        line = json.loads(await process.stdout.readline())
        async with open_stub(line["port"], settings) as stub:
            yield process, stub
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def report_until_cut(stub: Stub, acknowledged: dict[str, int]) -> list[pb.UsageReport]:
    """Books batches until the server is gone; returns what it was asked to book."""
    asked: list[pb.UsageReport] = []
    while True:
        batch = [message() for _ in range(8)]
        asked += batch
        try:
            response = await stub.Record(pb.RecordRequest(reports=batch), timeout=10)
        except grpc.aio.AioRpcError:
            return asked
        for each, result in zip(batch, response.results, strict=True):
            acknowledged[each.call_id] = result.booking.total_nanos


async def test_a_killed_server_loses_nothing_that_it_acknowledged(
    settings: AccountingSettings, admin: Connection
) -> None:
    acknowledged: dict[str, int] = {}
    async with served(settings) as (process, stub):
        callers = [asyncio.create_task(report_until_cut(stub, acknowledged)) for _ in range(4)]
        async with asyncio.timeout(30):
            while len(acknowledged) < 100:  # noqa: ASYNC110 - the callers are at it
                await asyncio.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        asked = [each for batch in await asyncio.gather(*callers) for each in batch]

    logged = await admin.fetch("SELECT call_id, total_nanos FROM usage_log")
    assert acknowledged.items() <= {str(r["call_id"]): r["total_nanos"] for r in logged}.items()
    assert await find_differences(admin, now().date()) == []

    async with served(settings) as (_, stub):
        for begin in range(0, len(asked), 256):
            response = await stub.Record(pb.RecordRequest(reports=asked[begin : begin + 256]))
            assert all(each.WhichOneof("result") == "booking" for each in response.results)
    assert await admin.fetchval("SELECT count(*) FROM usage_log") == len(asked)
    assert await find_differences(admin, now().date()) == []


async def test_a_server_that_is_asked_to_end_answers_what_it_has(
    settings: AccountingSettings, admin: Connection
) -> None:
    async with served(settings) as (process, stub):
        first = await stub.Record(pb.RecordRequest(reports=[message()]))
        resident = psutil.Process(process.pid).memory_info().rss
        calls = [
            asyncio.ensure_future(stub.Record(pb.RecordRequest(reports=[message()])))
            for _ in range(20)
        ]
        await asyncio.sleep(0)
        process.send_signal(signal.SIGTERM)
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert await process.wait() == 0

    assert first.results[0].booking.first
    assert resident < MEMORY_BYTES_MAX
    booked = [each for each in answers if isinstance(each, pb.RecordResponse)]
    refused = [each for each in answers if not isinstance(each, pb.RecordResponse)]
    assert all(each.results[0].booking.first for each in booked)
    # What arrives while the server stops to listen is cancelled by the transport, unseen by us.
    assert {each.code() for each in refused if isinstance(each, grpc.aio.AioRpcError)} <= {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.CANCELLED,
    }
    assert len(booked) + len(refused) == 20
    assert await admin.fetchval("SELECT count(*) FROM usage_log") == 1 + len(booked)


async def test_a_job_runs_from_the_command_line(settings: AccountingSettings) -> None:
    process = await start(settings, "job", "create-partitions")
    _, errors = await process.communicate()

    assert process.returncode == 0, errors
    assert json.loads(errors.splitlines()[-1])["event"] == "partitions_ensured"
