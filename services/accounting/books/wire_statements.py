"""Statements of closed months: protobuf to domain with validation, and back."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import asyncpg

from chassis import paging
from chassis.checks import Checks
from chassis.errors import FieldViolation, InvalidArgument
from headgate.api.accounting.v1 import books_pb2 as pb
from headgate.api.common.v1 import book_pb2
from services.accounting.books.statements import LINE_COUNT_MAX, LineQuery, Statement
from services.accounting.wire import NAME_LENGTH_MAX
from services.accounting.wire_prices import parse_audit_id

# What names a line within a month of usage.
_KEY: Final = ("org", "operation", "provider", "model")


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


def parse_get(request: pb.GetStatementRequest) -> LineQuery:
    """Returns which lines to list, one more than the page holds. Raises InvalidArgument."""
    checks = Checks()
    month = _parse_month(checks, request.month)
    org = checks.text("org", request.org, min_length=0, max_length=NAME_LENGTH_MAX)
    checks.raise_if_any()
    size = paging.page_size(request.page_size, default=LINE_COUNT_MAX, maximum=LINE_COUNT_MAX)
    query = LineQuery(month=month, org=org, limit=size + 1)
    cursor = paging.decode_token(request.page_token, list="statement", month=str(month), org=org)
    return query if cursor is None else replace(query, after=_parse_after(cursor))


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


def render_lines(rows: Sequence[asyncpg.Record], query: LineQuery) -> pb.GetStatementResponse:
    """Renders a page of lines, from up to one row more than fit."""
    page = rows[: query.limit - 1]
    answer = pb.GetStatementResponse(
        lines=[
            book_pb2.StatementLine(
                usage_month=f"{row['usage_month']:%Y-%m}",
                org=row["org"],
                operation=row["operation"],
                provider=row["provider"],
                model=row["model"],
                call_count=row["call_count"],
                cost_nanos=int(row["cost_nanos"]),
            )
            for row in page
        ]
    )
    if len(rows) > len(page):
        key = (str(page[-1]["usage_month"]), *(page[-1][name] for name in _KEY))
        answer.next_page_token = paging.encode_token(
            key, list="statement", month=str(query.month), org=query.org
        )
    return answer


def _parse_after(cursor: tuple[paging.Scalar, ...]) -> tuple[dt.date, str, str, str, str]:
    try:
        month, org, operation, provider, model = map(str, cursor)
        after = (dt.date.fromisoformat(month), org, operation, provider, model)
        is_ours = all(each.isprintable() for each in after[1:])
    except ValueError:
        is_ours = False
    if not is_ours:
        violation = FieldViolation("page_token", "is not one of ours; start again without it")
        raise InvalidArgument([violation])
    return after


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
