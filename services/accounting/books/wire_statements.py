"""Statements of closed months: protobuf to domain with validation, and back."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import asyncpg

from chassis.checks import Checks
from headgate.api.accounting.v1 import books_pb2 as pb
from headgate.api.common.v1 import book_pb2
from services.accounting.books.statements import Statement
from services.accounting.wire import NAME_LENGTH_MAX
from services.accounting.wire_prices import parse_audit_id


def parse_close(request: pb.CloseMonthRequest) -> tuple[dt.date, str]:
    """Returns the month's first day and the audit id. Raises InvalidArgument."""
    checks = Checks()
    month = _parse_month(checks, request.month)
    audit_id = parse_audit_id(checks, request.audit_id)
    checks.raise_if_any()
    return month, audit_id


def parse_list(request: pb.ListStatementsRequest) -> str:
    """Returns the org; empty: the platform. Raises InvalidArgument."""
    checks = Checks()
    org = checks.text("org", request.org, min_length=0, max_length=NAME_LENGTH_MAX)
    checks.raise_if_any()
    return org


def parse_get(request: pb.GetStatementRequest) -> tuple[dt.date, str]:
    """Returns the month's first day and the org. Raises InvalidArgument."""
    checks = Checks()
    month = _parse_month(checks, request.month)
    org = checks.text("org", request.org, min_length=0, max_length=NAME_LENGTH_MAX)
    checks.raise_if_any()
    return month, org


def render_statement(statement: Statement) -> book_pb2.Statement:
    """Renders the sums of a closed month."""
    message = book_pb2.Statement(
        month=f"{statement.month:%Y-%m}",
        call_count=statement.call_count,
        cost_nanos=statement.cost_nanos,
        correction_nanos=statement.correction_nanos,
    )
    message.close_time.FromDatetime(statement.close_time)
    return message


def render_lines(rows: Sequence[asyncpg.Record]) -> pb.GetStatementResponse:
    """Renders the lines of a statement."""
    lines = [
        book_pb2.StatementLine(
            usage_month=f"{row['usage_month']:%Y-%m}",
            org=row["org"],
            operation=row["operation"],
            provider=row["provider"],
            model=row["model"],
            call_count=row["call_count"],
            cost_nanos=int(row["cost_nanos"]),
        )
        for row in rows
    ]
    return pb.GetStatementResponse(lines=lines)


def _parse_month(checks: Checks, text: str) -> dt.date:
    try:
        month = dt.date.fromisoformat(f"{text}-01")
    except ValueError:
        month = dt.date.min
    # The last month of all has none after it.
    if not dt.date(1970, 1, 1) <= month <= dt.date(9999, 11, 1) or f"{month:%Y-%m}" != text:
        checks.violate("month", "send a month such as 2026-10")
        return dt.date(1970, 1, 1)
    return month
