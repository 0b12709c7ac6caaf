"""The named queries of sql/queries.sql."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from chassis.database import load_queries

SQL: Final = Path(__file__).parent / "sql"
QUERIES: Final = load_queries(SQL / "queries.sql")
