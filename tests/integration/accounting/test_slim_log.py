"""The log that an earlier version wrote is the same after it was rewritten."""

from __future__ import annotations

import datetime as dt
import hashlib
import shutil
import uuid
from pathlib import Path

import asyncpg

from chassis.migrations import migrate
from chassis.provision import provision
from services.accounting.domain.usage import HORIZON
from services.accounting.queries import SQL
from services.accounting.store import CLOCK_SKEW
from services.accounting.verification import find_differences
from tests.postgres import ROLE_PASSWORD, Clone
from tests.schemas import owner_url

SCHEMA = "accounting"
REWRITE = "0014_pre_log_names.sql"
# As servers of before booked: two calls of one kind and caller, one of others.
BOOK = """
SELECT * FROM book_usage(
    ARRAY['acme', 'acme', 'globex'], $1::uuid[], ARRAY[NULL, NULL, $2::uuid],
    array_fill($3::timestamptz, ARRAY[3]), ARRAY['chat', 'chat', 'embed'],
    ARRAY['openai', 'openai', 'cohere'], ARRAY['gpt', 'gpt', 'english'], ARRAY['k', 'k', ''],
    ARRAY['{"ticket": "T-1"}', NULL, NULL]::jsonb[], '{1,1,2}', '{1,2,3}', '{1,1,1}', '{9,9,9}',
    '{5,9,0}', '{10,NULL,NULL}', '{NULL,3,NULL}', '{}', '{}', '{7,NULL,NULL}', '{}',
    '{100,200,NULL}', ARRAY[NULL, NULL, 'timeout'], array_fill($4::bytea, ARRAY[3]),
    ARRAY['t', 't', NULL], ARRAY['u', NULL, NULL], ARRAY[NULL, 's', NULL], ARRAY[NULL, NULL, 'f'],
    '{1,NULL,NULL}', '{17,NULL,NULL}', ARRAY[NULL, 'batch', NULL], '{6,NULL,NULL}',
    ARRAY[NULL, '{"image_count": 2, "approved": true}', NULL]::jsonb[], 1000, $5::interval,
    $6::interval
)
"""
READ = """
SELECT {columns}, left(encode(payload_digest, 'hex'), 16) AS digest
FROM usage_log ORDER BY org, row_id
"""


async def test_a_log_of_before_is_the_same_and_a_repeated_report_meets_its_row(
    clone: Clone, tmp_path: Path
) -> None:
    for path in (SQL / "migrations").glob("*.sql"):
        if path.name < REWRITE:
            shutil.copy(path, tmp_path)

    async def build(url: str) -> None:
        await provision(
            url, name=SCHEMA, owner_password=ROLE_PASSWORD, runtime_password=ROLE_PASSWORD
        )
        await migrate(owner_url(url, SCHEMA), schema=SCHEMA, directory=tmp_path)

    url = await clone("accounting_before_slim_log", build)
    connection = await asyncpg.connect(url, server_settings={"search_path": SCHEMA})
    now = dt.datetime.now(dt.UTC)
    arguments = (
        [uuid.uuid4() for _ in range(3)],
        uuid.uuid4(),
        now,
        hashlib.sha256(b"report").digest()[:16],
        HORIZON,
        CLOCK_SKEW,
    )
    try:
        await connection.fetchval("SELECT ensure_partition($1, 1, 1)", now.date())
        assert await connection.fetch(BOOK, *arguments) == []
        columns = await connection.fetchval(
            "SELECT string_agg(quote_ident(attname), ', ') FROM pg_attribute WHERE attnum > 0"
            " AND attrelid = 'usage_log'::regclass AND attname <> 'payload_digest'"
        )
        before = await connection.fetch(READ.format(columns=columns))

        # Servers of before still run, and book as they did.
        await migrate(
            owner_url(url, SCHEMA), schema=SCHEMA, directory=SQL / "migrations", pre_only=True
        )

        assert [dict(r) for r in await connection.fetch(READ.format(columns=columns))] == [
            dict(r) for r in before
        ]
        assert await find_differences(connection, now.date()) == []
        repeated = await connection.fetch(BOOK, *arguments)
        assert [row["status"] for row in repeated] == [2, 2, 2]
        assert await connection.fetchval("SELECT count(*) FROM caller") == 2
        assert await connection.fetchval("SELECT count(*) FROM call_kind") == 2
    finally:
        await connection.close()
