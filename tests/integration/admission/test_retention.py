"""What is past the settlement horizon is forgotten, and the books add up all the same."""

from __future__ import annotations

import datetime as dt
import uuid

from chassis.database import Connection
from services.admission.config import AdmissionSettings
from services.admission.domain.calls import Denied, Ended, Held, Settle
from services.admission.domain.limits import Limit, Metric
from services.admission.domain.windows import TotalWindow
from services.admission.engine import Engine
from services.admission.jobs.roll_windows import roll_windows
from services.admission.retention import HORIZON, SLACK
from tests.integration.admission.replicas import assert_books, make_reserve, put_limit

TICKET = Limit(
    limit_id="ticket", scope=(("org", "acme"),), metric=Metric.COST, window=TotalWindow(), cap=100
)


async def age(admin: Connection, by: dt.timedelta) -> None:
    """Makes everything that has ended so much older."""
    await admin.execute("UPDATE ended_reservation SET end_time = end_time - $1::interval", by)


async def test_a_total_remembers_what_forgotten_calls_cost(
    engine: Engine, admin: Connection, settings: AdmissionSettings
) -> None:
    await put_limit(engine, TICKET)
    dated, undated = make_reserve(30), make_reserve(40, call_id=uuid.uuid4())
    for call in (dated, undated):
        assert isinstance(await engine.reservations.submit(call), Held)
        await engine.reservations.submit(Settle(call.key, 1, call.candidates[0].cost_nanos))
    await age(admin, HORIZON + SLACK - dt.timedelta(hours=1))
    await roll_windows(settings)
    assert await admin.fetchval("SELECT count(*) FROM ended_reservation") == 2
    await age(admin, dt.timedelta(hours=2))
    # The day in the dated one's id is today's: its partition is not old.
    await roll_windows(settings)
    assert await admin.fetchval("SELECT count(*) FROM ended_reservation") == 1
    await assert_books(engine)
    assert isinstance(await engine.reservations.submit(make_reserve(31)), Denied)
    assert isinstance(await engine.reservations.submit(make_reserve(30)), Held)


async def test_old_partitions_counters_and_sets_go(
    engine: Engine, admin: Connection, settings: AdmissionSettings
) -> None:
    call = make_reserve(30)
    await engine.reservations.submit(call)
    await engine.reservations.submit(Settle(call.key, 1, 20))
    old = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=60)
    await admin.execute("SELECT ensure_ended_partition($1::date)", old)
    await admin.execute("UPDATE ended_reservation SET id_day = $1::date", old)
    await age(admin, dt.timedelta(days=60))
    await admin.execute(
        "UPDATE counter SET start_time = start_time - interval '90 days',"
        " end_time = end_time - interval '90 days'"
    )
    await admin.execute("UPDATE counter_set SET end_time = end_time - interval '90 days'")
    await roll_windows(settings)
    for table in ("ended_reservation", "counter", "counter_set"):
        assert await admin.fetchval(f"SELECT count(*) FROM {table}") == 0, table
    name = f"ended_reservation_{old:%Y%m%d}"
    assert await admin.fetchval("SELECT to_regclass($1)", name) is None
    # Run again, it finds nothing to do.
    await roll_windows(settings)
    # Rows that are gone are made anew.
    assert isinstance(await engine.reservations.submit(make_reserve(30)), Held)


async def test_a_report_of_a_forgotten_call_charges_nobody(
    engine: Engine, admin: Connection
) -> None:
    call = make_reserve(30)
    await engine.reservations.submit(call)
    await engine.reservations.submit(Settle(call.key, 1, 20))
    await admin.execute("DELETE FROM counter")
    outcome = await engine.reservations.submit(Settle(call.key, 2, 25))
    assert isinstance(outcome, Ended)
    assert outcome.settled_nanos == 25
