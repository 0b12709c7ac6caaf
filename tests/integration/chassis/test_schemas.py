"""The checks of every service's SQL find what they look for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import schemas
from tests.postgres import Clone
from tests.schemas import assert_queries_prepare, assert_schema_equals_migrations, build_schemas

MIGRATION = """
CREATE TABLE toy (
    toy_id bigint PRIMARY KEY,
    name text NOT NULL DEFAULT 'ball',
    price bigint CONSTRAINT price_known CHECK (price > 0)
) WITH (fillfactor = 50);
CREATE INDEX toy_name ON toy (name);
CREATE FUNCTION one() RETURNS int LANGUAGE sql AS $$ SELECT 1 $$;
CREATE DOMAIN units AS bigint CHECK (value >= 0);
REVOKE DELETE ON toy FROM headgate_toy;
"""
# What the written schema says instead.
DIFFERENCES = (
    ("DEFAULT 'ball'", "DEFAULT 'car'"),
    ("price > 0", "price >= 0"),
    ("fillfactor = 50", "fillfactor = 60"),
    ("toy (name)", "toy (name, toy_id)"),
    ("SELECT 1", "SELECT 2"),
    ("value >= 0", "value > 0"),
    ("REVOKE DELETE", "REVOKE UPDATE"),
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "migrations").mkdir()
    (tmp_path / "migrations" / "0001_pre_first.sql").write_text(MIGRATION)
    monkeypatch.setitem(schemas.SQL, "toy", tmp_path)
    return tmp_path


async def test_every_difference_of_a_schema_is_found(clone: Clone, folder: Path) -> None:
    written = MIGRATION
    for migrated, other in DIFFERENCES:
        written = written.replace(migrated, other)
    (folder / "schema.sql").write_text(written)
    with pytest.raises(AssertionError, match="only in the written schema") as caught:
        await assert_schema_equals_migrations(clone, "toy")

    found = str(caught.value)
    for sign in ("'car'", "price >= 0", "fillfactor=60", "name, toy_id", "SELECT 2", "VALUE > 0"):
        assert sign in found
    assert "headgate_toy=ard/" in found


async def test_a_schema_in_two_files_that_equals_its_migrations_passes(
    clone: Clone, folder: Path
) -> None:
    table, function = MIGRATION.split("CREATE FUNCTION")
    (folder / "tables.sql").write_text(table)
    (folder / "functions.sql").write_text("CREATE FUNCTION" + function)

    # Another name than above: what was built for a name is kept for the whole run.
    await assert_schema_equals_migrations(
        clone, "toy", files=("tables.sql", "functions.sql"), template="toy_in_two"
    )


async def test_a_query_that_cannot_run_is_found(clone: Clone, folder: Path) -> None:
    url = await clone("toy_queries", lambda url: build_schemas(url, "toy"))
    queries = folder / "queries.sql"
    queries.write_text(
        "-- name: fine\nSELECT name FROM toy WHERE toy_id = $1;\n"
        "-- name: begin\nBEGIN; SELECT 1;\n"
        "-- name: misspelt\nSELECT nmae FROM toy;\n"
    )
    with pytest.raises(AssertionError, match=r"misspelt.*nmae") as caught:
        await assert_queries_prepare(url, queries, scripts=("begin",))

    assert "fine" not in str(caught.value)
    assert "'begin'" not in str(caught.value)
