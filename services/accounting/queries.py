"""The named queries of the files in sql/."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from chassis.database import load_queries

SCHEMA: Final = "accounting"
SQL: Final = Path(__file__).parent / "sql"
# The loader makes an attribute of each query, so the type checker sees none of them.
QUERIES: Final[Any] = load_queries(SQL / "queries.sql")
SUMMARIES: Final[Any] = load_queries(SQL / "summaries.sql")
BOOKS: Final[Any] = load_queries(SQL / "books.sql")
# Closed months.
STATEMENTS: Final[Any] = load_queries(SQL / "statements.sql")
# Feedback on calls.
FEEDBACK: Final[Any] = load_queries(SQL / "feedback.sql")
VERIFICATION: Final[Any] = load_queries(SQL / "verification.sql")
# Events and alerts.
ALERTS: Final[Any] = load_queries(SQL / "alerts.sql")
# What is looked for, and how far feeds have been read.
WATCH: Final[Any] = load_queries(SQL / "watch.sql")
# Channels and what is on its way to them.
DELIVERY: Final[Any] = load_queries(SQL / "delivery.sql")
# Forecasts, anomalies and what they are made from.
FORECASTS: Final[Any] = load_queries(SQL / "forecasts.sql")
