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

_NAMES: Final = """
SELECT cardinality(n.kind_ids)
FROM (
    SELECT
        array_agg('operation-' || operation ORDER BY org, operation, model) AS operations,
        array_agg(
            CASE model % 2 WHEN 0 THEN 'openai' ELSE 'anthropic' END
            ORDER BY org, operation, model
        ) AS providers,
        array_agg('model-' || model ORDER BY org, operation, model) AS models,
        array_agg('org-' || lpad(org::text, 4, '0') ORDER BY org, operation, model) AS orgs,
        array_agg('k_' || lpad(org::text, 12, '0') ORDER BY org, operation, model) AS keys,
        array_agg('team-' || org % 7 ORDER BY org, operation, model) AS teams
    FROM
        generate_series(0, $1::int - 1) AS org,
        generate_series(0, 3) AS operation,
        generate_series(0, 2) AS model
) AS m,
    LATERAL name_calls(
        m.operations, m.providers, m.models, m.orgs, m.keys, m.teams, CAST('{}' AS text[])
    ) AS n
"""
# A few orgs make most of the calls; every call has a key and a team, every other one a ticket.
_FILL: Final = """
INSERT INTO usage_entry (
    org, call_id, admit_time, kind_id, caller_id, labels, outcome, cost_basis, price_version,
    held_nanos, total_nanos, input_token_count, output_token_count, latency_ms, payload_digest
)
SELECT
    c.org, uuidv7(made.admit_time - clock_timestamp()), made.admit_time, k.kind_id, c.caller_id,
    CASE
        WHEN made.ticket % 2 = 0 THEN jsonb_build_object('ticket', 'T-' || made.ticket)
    END,
    CASE WHEN made.chance < 0.02 THEN 2 ELSE 1 END, 1, 1,
    2 * (input * $5::bigint + output * $6::bigint), input * $5::bigint + output * $6::bigint,
    input, output, 300 + output * 12, substr(decode(md5(made.chance::text), 'hex'), 1, 8)
FROM (
    SELECT
        'org-' || lpad(floor($3::int * power(random(), 2))::text, 4, '0') AS org,
        $1::date + (number + random()) / $2::float * interval '1 day' AS admit_time,
        'operation-' || floor(random() * 4) AS operation,
        'model-' || floor(random() * 3) AS model,
        floor(random() * 60)::int AS ticket,
        random() AS chance,
        ($4::int[])[1 + 2 * place] AS input,
        ($4::int[])[2 + 2 * place] AS output
    FROM (
        SELECT number, floor(random() * cardinality($4::int[]) / 2)::int AS place
        FROM generate_series(0, $2::int - 1) AS number
    ) AS drawn
) AS made
INNER JOIN call_kind AS k ON k.operation = made.operation AND k.model = made.model
INNER JOIN caller AS c ON c.org = made.org
ORDER BY made.admit_time
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
    await connection.execute(_NAMES, extent.org_count)
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
    """Returns the bytes of the log and its names, and of each kind of rollup, with indexes."""
    rows = await connection.fetch(
        """
        SELECT
            CASE WHEN c.relname LIKE 'rollup%' THEN c.relname ELSE 'usage_log' END AS name,
            sum(pg_total_relation_size(c.oid))::bigint AS bytes
        FROM pg_class AS c
        WHERE
            c.relkind = 'r' AND c.relnamespace = 'accounting'::regnamespace
            AND (
                c.relname LIKE 'usage_log_2%' OR c.relname LIKE 'rollup%'
                OR c.relname IN ('call_kind', 'caller')
            )
        GROUP BY 1
        """
    )
    return {row["name"]: row["bytes"] for row in rows}
