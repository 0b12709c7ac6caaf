"""One truth about money: log, rollups, counters, feed, export, answers; whatever is killed."""

from __future__ import annotations

import asyncio
import csv
import datetime as dt
import io
import json
import random
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import pytest_asyncio

from chassis.database import Connection
from chassis.peers import open_channel
from headgate.api.accounting.v1 import accounting_pb2 as pb
from headgate.api.accounting.v1 import accounting_pb2_grpc, books_pb2, books_pb2_grpc
from headgate.api.common.v1 import book_pb2, call_pb2, usage_pb2
from services.accounting.config import AccountingSettings
from services.accounting.verification import find_differences
from tests.integration.accounting.conftest import TOKEN, build
from tests.integration.accounting.counting import counting, read_counters
from tests.integration.accounting.replicas import Stub, wait_for_older
from tests.integration.accounting.samples import INPUT_NANOS, OUTPUT_NANOS, message, now
from tests.integration.accounting.test_books import instant
from tests.integration.accounting.test_process import start
from tests.postgres import Clone
from tests.schemas import build_schemas

CALL_COUNT = 320
BATCH_SIZE = 16
KILL_COUNT = 3
MILLION = 10**6
CREDIT_NANOS = -7


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One process and its contracts."""

    process: Process
    accounting: Stub
    books: Any


class Fleet:
    """Two servers; one that is killed comes back at once."""

    def __init__(self, settings: AccountingSettings, stack: AsyncExitStack) -> None:
        self._settings = settings
        self._stack = stack
        self.servers: dict[int, Server] = {}

    async def open(self, slot: int) -> None:
        """Starts the server of a slot. An earlier one's channel stays open, to nobody."""
        process = await start(self._settings, "serve")
        self._stack.push_async_callback(end, process)
        assert process.stdout is not None
        port = json.loads(await process.stdout.readline())["port"]
        channel = await self._stack.enter_async_context(
            open_channel((f"127.0.0.1:{port}",), self._settings)
        )
        self.servers[slot] = Server(
            process=process,
            accounting=accounting_pb2_grpc.AccountingServiceStub(channel),
            books=books_pb2_grpc.BookServiceStub(channel),
        )

    async def kill(self, slot: int) -> None:
        """Ends a server without a word, and starts another."""
        self.servers[slot].process.kill()
        await self.servers[slot].process.wait()
        await self.open(slot)


async def end(process: Process) -> None:
    """Ends a process that may have ended already."""
    if process.returncode is None:
        process.kill()
    await process.communicate()


@asynccontextmanager
async def fleet_of_two(settings: AccountingSettings) -> AsyncIterator[Fleet]:
    async with AsyncExitStack() as stack:
        fleet = Fleet(settings, stack)
        for slot in range(2):
            await fleet.open(slot)
        yield fleet


def make_reports(chance: random.Random) -> tuple[list[pb.UsageReport], int]:
    """Calls of today and the days before, late ones too, and what they cost by hand."""
    reports, cost = [], 0
    for number in range(CALL_COUNT):
        inputs, outputs = chance.randrange(3_000), chance.randrange(500)
        cost += inputs * INPUT_NANOS // MILLION + outputs * OUTPUT_NANOS // MILLION
        reports.append(
            message(
                org=f"org-{chance.randrange(5)}",
                operation=chance.choice(["a", "b"]),
                user=f"u-{number % 37}",
                labels={"ticket": f"T-{number % 11}"},
                admit_time=instant(now() - dt.timedelta(days=chance.choice([0, 0, 1, 1, 30]))),
                meters=call_pb2.UsageMeters(input_token_count=inputs, output_token_count=outputs),
            )
        )
    return reports, cost


async def book_all(
    fleet: Fleet, reports: list[pb.UsageReport], chance: random.Random, acknowledged: set[str]
) -> None:
    """Sends batches until each call is acknowledged, and a third of them once more."""
    batches = [reports[begin : begin + BATCH_SIZE] for begin in range(0, len(reports), BATCH_SIZE)]
    batches += chance.sample(batches, len(batches) // 3)
    chance.shuffle(batches)
    for batch in batches:
        while True:
            stub = fleet.servers[chance.randrange(2)].accounting
            try:
                answer = await stub.Record(pb.RecordRequest(reports=batch), timeout=20)
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.01)
                continue
            if all(each.WhichOneof("result") == "booking" for each in answer.results):
                acknowledged.update(each.call_id for each in batch)
                break


async def rebuild_and_kill(settings: AccountingSettings, admin: Connection) -> None:
    """Damages a past day, lets two aggregators race for it, and kills one in the middle."""
    await admin.execute(
        "UPDATE rollup SET cost_nanos = cost_nanos + 1"
        " WHERE day < current_date AND level IN (2, 4)"
    )
    jobs = [await start(settings, "job", "aggregate-usage") for _ in range(2)]
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE '%aggregate%'"
    async with asyncio.timeout(300):
        while (  # noqa: ASYNC110 - nobody tells when a job has connected
            not await admin.fetchval(waiting) and jobs[0].returncode is None
        ):
            await asyncio.sleep(0.005)
    if jobs[0].returncode is None:
        jobs[0].kill()
    await asyncio.gather(*(job.communicate() for job in jobs))


async def total_of(
    stub: Stub, source: usage_pb2.UsageSource.ValueType, *group_by: int
) -> tuple[int, int, int]:
    """Calls and cost by `GetUsage`, and the sum of its rows."""
    today = now().date()
    answer = await stub.GetUsage(
        pb.GetUsageRequest(
            start_day=(today - dt.timedelta(days=40)).isoformat(),
            end_day=today.isoformat(),
            group_by=group_by,  # type: ignore[arg-type]  # numbers of the enum
            source=source,
        )
    )
    rows = sum(row.cost_nanos for row in answer.rows)
    return answer.total.call_count, answer.total.cost_nanos, rows


async def export_cost(books: Any) -> int:
    """What the lines of an export add up to."""
    parts = books.ExportUsage(
        books_pb2.ExportUsageRequest(
            format=book_pb2.EXPORT_FORMAT_CSV,
            start_time=instant(now() - dt.timedelta(days=40)),
            end_time=instant(now() + dt.timedelta(days=1)),
        )
    )
    text = b"".join([part.data async for part in parts]).decode()
    return sum(int(row["booked_nanos"]) for row in csv.DictReader(io.StringIO(text)))


async def feed_cost(stub: Stub) -> int:
    """What a reader of the feed knows: the newest revision of each call."""
    newest: dict[tuple[str, str], tuple[int, int]] = {}
    after = None
    while True:
        page = await stub.ListSettlements(pb.ListSettlementsRequest(after=after))
        for each in page.settlements:
            key = (each.org, each.call_id)
            newest[key] = max(newest.get(key, (0, 0)), (each.revision, each.total_nanos))
        if not page.settlements:
            return sum(total for _, total in newest.values())
        after = page.next


async def kill_all_the_time(
    fleet: Fleet, settings: AccountingSettings, admin: Connection, acknowledged: set[str]
) -> None:
    """Kills a server whenever some more is booked, and aggregators beside it."""
    for number in range(KILL_COUNT):
        enough = CALL_COUNT * (number + 1) // (KILL_COUNT + 2)
        async with asyncio.timeout(300):
            while len(acknowledged) < enough:  # noqa: ASYNC110 - the callers are at it
                await asyncio.sleep(0.005)
        await fleet.kill(number % 2)
        await rebuild_and_kill(settings, admin)


async def ask_all(stub: Stub) -> list[tuple[int, int, int]]:
    """Every way to ask for the sum of all calls."""
    log, rollup = usage_pb2.USAGE_SOURCE_LOG, usage_pb2.USAGE_SOURCE_ROLLUP
    day, model = usage_pb2.USAGE_DIMENSION_DAY, usage_pb2.USAGE_DIMENSION_MODEL
    return [
        await total_of(stub, log),
        await total_of(stub, rollup),
        await total_of(stub, rollup, usage_pb2.USAGE_DIMENSION_HOUR),
        await total_of(stub, rollup, usage_pb2.USAGE_DIMENSION_ORG),
        await total_of(stub, rollup, usage_pb2.USAGE_DIMENSION_USER),
        await total_of(stub, rollup, day, model),
    ]


async def build_both(url: str) -> None:
    await build(url)
    await build_schemas(url, "admission")


@pytest_asyncio.fixture
async def database_url(clone: Clone) -> str:
    """The superuser's URL of a database that has admission's schema too."""
    return await clone("accounting-admission", build_both)


async def credit_some(books: Any, reports: list[pb.UsageReport]) -> int:
    """Credits calls, each twice by one order, which counts once; returns the sum."""
    for report in [*reports, *reports]:
        await books.AdjustUsage(
            books_pb2.AdjustUsageRequest(
                org=report.org,
                call_id=report.call_id,
                delta_nanos=CREDIT_NANOS,
                note="credit",
                audit_id=f"a/{report.call_id}",
            )
        )
    return len(reports) * CREDIT_NANOS


async def test_every_number_is_the_log_whatever_is_killed(
    settings: AccountingSettings, admin: Connection, database_url: str
) -> None:
    chance = random.Random(20_261_126)
    reports, cost = make_reports(chance)
    acknowledged: set[str] = set()
    async with (
        fleet_of_two(settings) as fleet,
        counting(database_url, TOKEN, lambda: fleet.servers[0].accounting) as admission,
    ):
        await admission.hold(reports)
        following = asyncio.create_task(admission.follow())
        halves = [reports[::2], reports[1::2]]
        booking = [
            asyncio.create_task(book_all(fleet, half, random.Random(number), acknowledged))
            for number, half in enumerate(halves)
        ]
        await kill_all_the_time(fleet, settings, admin, acknowledged)
        await asyncio.gather(*booking)

        stub, books = fleet.servers[0].accounting, fleet.servers[0].books
        cost += await credit_some(books, reports[:9])
        await (await start(settings, "job", "aggregate-usage")).communicate()
        exported = await export_cost(books)
        await wait_for_older(admin)
        fed = await feed_cost(stub)
        following.cancel()
        await asyncio.wait([following])
        await admission.pull()
        counted = await read_counters(admin)
        answers = await ask_all(stub)

    assert acknowledged == {report.call_id for report in reports}
    logged = await admin.fetchval(
        "SELECT sum(coalesce(delta_nanos, total_nanos))::bigint FROM usage_log"
    )
    for row in await admin.fetch("SELECT DISTINCT day FROM rollup"):
        assert await find_differences(admin, row["day"]) == []
    assert logged == exported == fed == cost
    assert counted == (cost, 0)
    assert answers == [(CALL_COUNT, cost, cost)] * len(answers)
