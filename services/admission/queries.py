"""The named queries of sql/queries/."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from chassis.database import load_queries

SQL: Final = Path(__file__).parent / "sql"
# The loader makes an attribute of each query, so the type checker sees none of them.
QUERIES: Final[Any] = load_queries(SQL / "queries")
