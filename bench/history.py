"""Fills the database of a bench with what long use leaves: scopes, open holds, ended calls.

Written straight into the tables, as a backup would be restored.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any, Final

import asyncpg

from services.admission.domain.bindings import CounterKey, LimitSet
from services.admission.queries import QUERIES
from services.admission.rows import limit_of, window_columns

# Orgs whose scopes are written at once.
SCOPES_AT_ONCE: Final = 10_000
ROWS_AT_ONCE: Final = 500_000
COUNTER_COLUMNS: Final = (
    "counter_id", "rank", "org", "scope", "metric", "window_kind", "period", "time_zone", "anchor",
    "length_us", "slot_count", "refill_amount", "start_time", "end_time",
)  # fmt: skip
# Days over which ended calls are spread: the settlement horizon.
DAY_COUNT: Final = 35

_HOLDS: Final = """
INSERT INTO admission.reservation (
    org, call_id, fingerprint, operation, provider, model, held_nanos, set_id, admit_time,
    expire_time, price_version, breaker_epoch
)
SELECT 'filled-' || number % 1000, uuidv7(), decode(repeat('00', 32), 'hex'), 'summarize',
    'openai', 'gpt-4o-mini', 1000, gen_random_uuid(), now(), now() + interval '20 hours', 1, 0
FROM generate_series($1::bigint, $2::bigint) AS number
"""
_ENDED: Final = """
INSERT INTO admission.ended_reservation (
    org, call_id, id_day, fingerprint, operation, provider, model, held_nanos, set_id, admit_time,
    expire_time, price_version, breaker_epoch, state, settled_nanos, revision, hold_returned,
    end_time
)
SELECT 'filled-' || number % 1000, uuidv7(day - now()), (day AT TIME ZONE 'UTC')::date,
    decode(repeat('00', 32), 'hex'), 'summarize', 'openai', 'gpt-4o-mini', 1000,
    gen_random_uuid(), day, day, 1, 0, 2, 700, 1, FALSE, day
FROM generate_series($1::bigint, $2::bigint) AS number,
    LATERAL (SELECT now() - number % $3 * interval '1 day' AS day) AS days
"""
# Below every cursor of the settlement feed: these calls are settled.
_LOGGED: Final = """
INSERT INTO accounting.usage_entry (
    org, call_id, admit_time, kind_id, caller_id, outcome, cost_basis, price_version, held_nanos,
    total_nanos, input_token_count, output_token_count, payload_digest, xid, row_id
)
SELECT 'filled-' || number % 1000, uuidv7(day - now()), day, n.kind_ids[1 + number % 1000],
    n.caller_ids[1 + number % 1000], 1, 1, 1, 1000, 700, 420, 180,
    decode(repeat('00', 8), 'hex'), '0'::xid8, -number
FROM (
    SELECT
        array_agg('summarize'::text) AS operations, array_agg('openai'::text) AS providers,
        array_agg('gpt-4o-mini'::text) AS models, array_agg('filled-' || org ORDER BY org) AS orgs,
        array_agg('k_filled'::text) AS keys
    FROM generate_series(0, 999) AS org
) AS m,
    LATERAL accounting.name_calls(
        m.operations, m.providers, m.models, m.orgs, m.keys, '{}', '{}'
    ) AS n,
    generate_series($1::bigint, $2::bigint) AS number,
    LATERAL (SELECT now() - number % $3 * interval '1 day' AS day) AS days
"""
_PARTITIONS: Final = """
SELECT
    admission.ensure_ended_partition((now() AT TIME ZONE 'UTC')::date - day),
    accounting.ensure_partition((now() AT TIME ZONE 'UTC')::date - day, 40, 3)
FROM generate_series(0, $1::integer) AS day
"""


def org_of(number: int) -> str:
    """Returns the name of one of the orgs whose scopes are filled."""
    return f"scale-{number}"


class History:
    """What was filled so far, through a superuser's connections: two tables are filled at once."""

    def __init__(
        self,
        connection: asyncpg.Connection[asyncpg.Record],
        second: asyncpg.Connection[asyncpg.Record],
    ) -> None:
        self._connection = connection
        self._second = second
        self._counts = {"scopes": 0, "holds": 0, "finished": 0}

    async def fill(self, what: str, count: int) -> None:
        """Adds rows until there are `count`, and lets the database settle."""
        step = SCOPES_AT_ONCE if what == "scopes" else ROWS_AT_ONCE
        first, start = self._counts[what], time.perf_counter()
        while (done := self._counts[what]) < count:
            upto = min(done + step, count)
            await getattr(self, f"_add_{what}")(done, upto)
            self._counts[what] = upto
            rate = (upto - first) / (time.perf_counter() - start)
            told = f"\r{what}: {upto:,} of {count:,}, {rate:,.0f}/s  "
            print(told, end="", file=sys.stderr, flush=True)
        # What the filling left to do is done here, not while calls are measured.
        await self._connection.execute("ALTER SYSTEM SET autovacuum = off")
        await self._connection.execute("SELECT pg_reload_conf()")
        await self._connection.execute("VACUUM (ANALYZE)")
        await self._connection.execute("CHECKPOINT")
        print(f"filled in {time.perf_counter() - start:,.0f} s", file=sys.stderr)

    async def _add_scopes(self, first: int, end: int) -> None:
        """Writes the counters that the orgs' first calls would have made."""
        limits = await self._read_limits()
        now: dt.datetime = await self._connection.fetchval("SELECT clock_timestamp()")
        bindings = [limits.bind({"org": org_of(number)}, now) for number in range(first, end)]
        keys = {bound.key.counter_id: bound.key for each in bindings for bound in each.bounds}
        # The platform's come with the first call, if they are not there.
        rows = [_counter_row(key) for key in keys.values() if key.scope]
        await self._copy("counter", COUNTER_COLUMNS, rows)
        sets = (
            (each.set_id, [bound.key.counter_id for bound in each.bounds], each.valid_until)
            for each in bindings
        )
        await self._copy("counter_set", ("set_id", "counter_ids", "end_time"), sets)

    async def _add_holds(self, first: int, end: int) -> None:
        await self._connection.execute(_HOLDS, first + 1, end)

    async def _add_finished(self, first: int, end: int) -> None:
        if first == 0:
            await self._connection.execute(_PARTITIONS, DAY_COUNT)
        await asyncio.gather(
            self._connection.execute(_ENDED, first + 1, end, DAY_COUNT),
            self._second.execute(_LOGGED, first + 1, end, DAY_COUNT),
        )

    async def _copy(
        self, table: str, columns: Sequence[str], records: Iterable[tuple[Any, ...]]
    ) -> None:
        await self._connection.copy_records_to_table(
            table, schema_name="admission", columns=columns, records=records
        )

    async def _read_limits(self) -> LimitSet:
        await self._connection.execute("SET search_path = admission")
        row = await self._connection.fetchrow(QUERIES.select_policy.sql)
        assert row is not None
        limits = [limit_of(fields) for fields in json.loads(row["limits"])]
        return LimitSet(version=row["version"], limits=limits)


def _counter_row(key: CounterKey) -> tuple[Any, ...]:
    return (
        key.counter_id,
        key.rank,
        key.org,
        json.dumps(dict(key.scope)),
        key.metric.value,
        *window_columns(key.window).values(),
        key.span.start,
        key.span.end,
    )
