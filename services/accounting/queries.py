"""The named queries of sql/queries.sql and sql/verification.sql."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from chassis.database import load_queries

SCHEMA: Final = "accounting"
SQL: Final = Path(__file__).parent / "sql"
# The loader makes an attribute of each query, so the type checker sees none of them.
QUERIES: Final[Any] = load_queries(SQL / "queries.sql")
VERIFICATION: Final[Any] = load_queries(SQL / "verification.sql")
