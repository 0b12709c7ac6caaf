"""A log of calls to measure on: made in the database, with the sizes of a trace."""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg

TRACE: Final = Path(__file__).with_name("trace.csv")
# Nano-dollars of a token, in and out.
INPUT_NANOS: Final = 150
OUTPUT_NANOS: Final = 600

# A few orgs make most of the calls; every call has a key and a team, every other one a ticket.
_FILL: Final = """
INSERT INTO usage_log (
    org, call_id, admit_time, operation, provider, model, api_key_id, labels, outcome, cost_basis,
    price_version, held_nanos, total_nanos, input_token_count, output_token_count, latency_ms,
    payload_digest, team
)
SELECT
    'org-' || lpad(org::text, 4, '0'), uuidv7(admit_time - clock_timestamp()), admit_time,
    'operation-' || operation,
    CASE model % 2 WHEN 0 THEN 'openai' ELSE 'anthropic' END, 'model-' || model,
    'k_' || lpad(org::text, 12, '0'),
    CASE WHEN ticket % 2 = 0 THEN jsonb_build_object('ticket', 'T-' || ticket) END,
    CASE WHEN chance < 0.02 THEN 2 ELSE 1 END, 1, 1,
    2 * (input * $5::bigint + output * $6::bigint), input * $5::bigint + output * $6::bigint,
    input, output, 300 + output * 12, decode(md5(chance::text), 'hex'), 'team-' || org % 7
FROM (
    SELECT
        floor($3::int * power(random(), 2))::int AS org,
        $1::date + (number + random()) / $2::float * interval '1 day' AS admit_time,
        floor(random() * 4)::int AS operation,
        floor(random() * 3)::int AS model,
        floor(random() * 60)::int AS ticket,
        random() AS chance,
        ($4::int[])[1 + 2 * place] AS input,
        ($4::int[])[2 + 2 * place] AS output
    FROM (
        SELECT number, floor(random() * cardinality($4::int[]) / 2)::int AS place
        FROM generate_series(0, $2::int - 1) AS number
    ) AS drawn
) AS made
ORDER BY admit_time
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How much to make."""

    call_count: int
    org_count: int
    day_count: int


def read_trace(path: Path) -> list[tuple[int, int]]:
    """Returns input and output tokens of each call of a trace."""
    with path.open(newline="") as file:
        return [
            (int(row["ContextTokens"]), int(row["GeneratedTokens"]))
            for row in csv.DictReader(file)
        ]


async def fill(
    connection: asyncpg.Connection[Any],
    extent: Extent,
    trace: Sequence[tuple[int, int]],
    progress: Callable[[int], None],
) -> list[dt.date]:
    """Makes the calls of each day up to today, and their rollups; returns the days."""
    today = dt.datetime.now(dt.UTC).date()
    days = [today - dt.timedelta(days=number) for number in range(extent.day_count)][::-1]
    sizes = [size for pair in trace for size in pair]
    for number, day in enumerate(days):
        first = extent.call_count * number // len(days)
        count = extent.call_count * (number + 1) // len(days) - first
        await connection.fetchval("SELECT ensure_partition($1, 400, 1)", day)
        await connection.execute(
            _FILL, day, count, extent.org_count, sizes, INPUT_NANOS, OUTPUT_NANOS
        )
        await connection.execute("INSERT INTO rollup SELECT s.* FROM sum_log_day($1) AS s", day)
        progress(first + count)
    await connection.execute(
        "INSERT INTO dimension_bound (org, day, dimension, value_count)"
        " SELECT org, day, dimension, count(*) FROM rollup_dimension_day GROUP BY 1, 2, 3"
    )
    await connection.execute("VACUUM ANALYZE")
    return days


async def measure_sizes(connection: asyncpg.Connection[Any]) -> dict[str, int]:
    """Returns the bytes of the log, and of each kind of rollup, indexes included."""
    rows = await connection.fetch(
        """
        SELECT
            CASE WHEN c.relname LIKE 'usage_log%' THEN 'usage_log' ELSE c.relname END AS name,
            sum(pg_total_relation_size(c.oid))::bigint AS bytes
        FROM pg_class AS c
        WHERE
            c.relkind = 'r' AND c.relnamespace = 'accounting'::regnamespace
            AND (c.relname LIKE 'usage_log_2%' OR c.relname LIKE 'rollup%')
        GROUP BY 1
        """
    )
    return {row["name"]: row["bytes"] for row in rows}
