"""The schema and the queries are what the code believes them to be."""

from __future__ import annotations

import ast
import inspect

from services.health import circuit_store, connections, kill_store, store, toggle_store
from services.health.connections import FILES, SQL, load_sql
from services.health.store import SCHEMA
from tests.postgres import Clone
from tests.schemas import assert_queries_prepare, assert_schema_equals_migrations


async def test_the_written_schema_is_what_the_migrations_make(clone: Clone) -> None:
    await assert_schema_equals_migrations(clone, SCHEMA)


async def test_every_query_prepares_as_the_runtime_role(url: str) -> None:
    for file in FILES:
        await assert_queries_prepare(url, SQL / file)


def test_the_store_runs_every_query_and_no_other() -> None:
    used = {
        node.slice.value
        for module in (circuit_store, connections, kill_store, store, toggle_store)
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.Subscript)
        and isinstance(node.slice, ast.Constant)
        and ast.unparse(node.value) == "self._sql"
    }

    # The wiring hands that one to the chassis.
    assert used | {"find_changes"} == set(load_sql())
