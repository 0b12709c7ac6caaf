"""What is written out is what is booked, and old days leave only after they were sealed."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import io
import json
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import pytest

from chassis.database import Connection
from headgate.api.accounting.v1 import accounting_pb2, books_pb2_grpc
from headgate.api.accounting.v1 import books_pb2 as pb
from headgate.api.common.v1 import book_pb2
from services.accounting.books import exports
from services.accounting.config import AccountingSettings
from services.accounting.domain.usage import HORIZON
from services.accounting.jobs.drop_partitions import drop_partitions
from services.accounting.jobs.reconcile_bill import reconcile_bill
from tests.integration.accounting.refusals import refusal
from tests.integration.accounting.replicas import Replica, Stub
from tests.integration.accounting.samples import SAMPLE_NANOS, message, now, report
from tests.integration.accounting.test_books import instant

CSV, JSON_LINES, FOCUS = (
    book_pb2.EXPORT_FORMAT_CSV,
    book_pb2.EXPORT_FORMAT_JSON_LINES,
    book_pb2.EXPORT_FORMAT_FOCUS_CSV,
)


async def export(channel: grpc.aio.Channel, kind: int, **changes: Any) -> tuple[bytes, list[Any]]:
    books: Any = books_pb2_grpc.BookServiceStub(channel)
    fields: dict[str, Any] = {
        "format": kind,
        "start_time": instant(now() - dt.timedelta(days=3)),
        "end_time": instant(now() + dt.timedelta(days=1)),
    }
    parts = [each async for each in books.ExportUsage(pb.ExportUsageRequest(**(fields | changes)))]
    return b"".join(each.data for each in parts), parts


async def book(stub: Stub, *reports: dict[str, Any]) -> None:
    messages = [message(**each) for each in reports]
    await stub.Record(accounting_pb2.RecordRequest(reports=messages))


async def test_every_format_has_the_sum_of_the_books(
    stub: Stub, channel: grpc.aio.Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "PART_SIZE", 2)
    await book(stub, {}, {"org": "globex"}, {"user": "=cmd()", "operation": "o"}, {}, {})

    text, parts = await export(channel, CSV)
    lines, _ = await export(channel, JSON_LINES)
    focus, _ = await export(channel, FOCUS)
    rows = list(csv.DictReader(io.StringIO(text.decode())))
    objects = [json.loads(line) for line in lines.splitlines()]
    charges = list(csv.DictReader(io.StringIO(focus.decode())))

    assert [(each.row_count, each.total_count) for each in parts] == [(2, 5), (4, 5), (5, 5)]
    assert sum(int(row["booked_nanos"]) for row in rows) == 5 * SAMPLE_NANOS
    assert sum(each["booked_nanos"] for each in objects) == 5 * SAMPLE_NANOS
    assert sum(round(float(each["BilledCost"]) * 10**9) for each in charges) == 5 * SAMPLE_NANOS
    assert [row["user"] for row in rows if row["user"]] == ["'=cmd()"]
    assert [each["user"] for each in objects if "user" in each] == ["=cmd()"]
    assert objects[0]["labels"] == {"ticket": "T-1"}
    assert {each["SubAccountId"] for each in charges} == {"acme", "globex"}
    assert {each["ChargeCategory"] for each in charges} == {"Usage"}


async def test_an_export_of_one_org_has_nobody_elses(
    stub: Stub, channel: grpc.aio.Channel
) -> None:
    await book(stub, {}, {"org": "globex"})
    text, _ = await export(channel, CSV, org="globex")
    empty, parts = await export(channel, CSV, org="nobody")

    assert text.count(b"\n") == 2
    assert empty.decode().strip().split(",")[0] == "admit_time"
    assert [(each.row_count, each.total_count) for each in parts] == [(0, 0)]


async def test_a_wrong_export_names_its_field(channel: grpc.aio.Channel) -> None:
    books: Any = books_pb2_grpc.BookServiceStub(channel)

    async def first(**fields: Any) -> Any:
        return await books.ExportUsage(pb.ExportUsageRequest(**fields)).read()

    error = await refusal(first())

    assert [each.field for each in error.violations] == ["format", "start_time", "end_time"]


async def test_a_replay_gives_each_call_once_in_order_of_admission(
    stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.accounting.store.REPLAY_PART_SIZE", 2)
    times = [now() - dt.timedelta(minutes=minutes) for minutes in (3, 1, 2)]
    for number, time in enumerate(times):
        await book(
            stub, {"admit_time": instant(time), "user": f"u{number}", "held_token_count": 7}
        )
    request = accounting_pb2.ReplayUsageRequest(
        start_time=instant(now() - dt.timedelta(hours=1)), end_time=instant(now())
    )

    parts = [each async for each in stub.ReplayUsage(request)]
    calls = [call for part in parts for call in part.calls]

    assert [len(part.calls) for part in parts] == [2, 1]
    assert {part.total_count for part in parts} == {3}
    assert [call.user for call in calls] == ["u0", "u2", "u1"]
    assert (calls[0].held_token_count, calls[0].token_count) == (7, 110)
    assert (calls[0].total_nanos, calls[0].labels["ticket"]) == (SAMPLE_NANOS, "T-1")
    assert calls[0].latency.ToMilliseconds() == 1_500


async def age(admin: Connection, days: int) -> dt.date:
    """Makes today's log a day of the past, as its partition's name and bounds say."""
    today = now().date()
    old = today - dt.timedelta(days=days)
    await admin.execute(
        f"""
        ALTER TABLE usage_entry DETACH PARTITION usage_log_{today:%Y%m%d};
        UPDATE usage_log_{today:%Y%m%d} SET admit_time = admit_time - interval '{days} days';
        ALTER TABLE usage_log_{today:%Y%m%d} RENAME TO usage_log_{old:%Y%m%d};
        ALTER TABLE usage_entry ATTACH PARTITION usage_log_{old:%Y%m%d}
            FOR VALUES FROM ('{old}') TO ('{old + dt.timedelta(days=1)}');
        UPDATE rollup SET day = '{old}'; UPDATE dimension_bound SET day = '{old}';
        """
    )
    return old


async def test_an_old_day_is_written_out_sealed_and_dropped_and_its_rollups_stay(
    replica: Replica, settings: AccountingSettings, admin: Connection, tmp_path: Path
) -> None:
    await replica.ledger.record([report(team="t") for _ in range(3)])
    day = await age(admin, 91)
    rollups = await admin.fetch("SELECT * FROM rollup ORDER BY level")
    wanted = settings.model_copy(update={"export_directory": str(tmp_path)})

    await drop_partitions(wanted)
    await drop_partitions(wanted)

    (path,) = [*tmp_path.iterdir()]  # noqa: ASYNC240 - a folder of the test
    rows = list(csv.DictReader(io.StringIO(gzip.decompress(path.read_bytes()).decode())))
    sealed = await admin.fetchrow("SELECT day, row_count, call_count, cost_nanos FROM sealed_day")
    assert sealed is not None
    assert tuple(sealed) == (day, 3, 3, 3 * SAMPLE_NANOS)
    assert path.name == f"usage_log_{day:%Y%m%d}.csv.gz"
    assert sum(int(row["booked_nanos"]) for row in rows) == 3 * SAMPLE_NANOS
    assert await admin.fetchval("SELECT count(*) FROM usage_log") == 0
    assert await admin.fetch("SELECT * FROM rollup ORDER BY level") == rollups


async def test_what_was_not_sealed_or_still_gets_reports_is_not_dropped(
    replica: Replica, admin: Connection
) -> None:
    await replica.ledger.record([report()])
    drop = "SELECT drop_sealed_day($1::date, $2::interval)"
    with pytest.raises(asyncpg.RaiseError, match="still gets reports"):
        await admin.fetchval(drop, now().date(), HORIZON)
    day = await age(admin, 91)
    with pytest.raises(asyncpg.RaiseError, match="not sealed"):
        await admin.fetchval(drop, day, HORIZON)
    await admin.execute("INSERT INTO sealed_day VALUES ($1, 1, 1, 7)", day)
    with pytest.raises(asyncpg.RaiseError, match="not sealed"):
        await admin.fetchval(drop, day, HORIZON)

    assert await admin.fetchval("SELECT count(*) FROM usage_log") == 1


async def test_bills_of_a_folder_are_compared_twice_or_never(
    replica: Replica, settings: AccountingSettings, admin: Connection, tmp_path: Path
) -> None:
    await replica.ledger.record([report()])
    line = f"{now().date().isoformat()},7,USD"
    (tmp_path / "openai.2026-11.csv").write_text(f"day,cost,currency\n{line}\n")
    (tmp_path / "notes.txt").write_text("not a bill")
    wanted = settings.model_copy(update={"bill_directory": str(tmp_path)})

    await reconcile_bill(settings)
    for _ in range(2):
        await reconcile_bill(wanted)

    alerts = await admin.fetch("SELECT subject FROM alert")
    assert [row["subject"] for row in alerts] == ["bill/openai"]
