"""Writes usage out, a part at a time: CSV, JSON lines, FOCUS columns."""

from __future__ import annotations

import csv
import datetime as dt
import enum
import io
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from chassis.database import Connection, Pool
from services.accounting.domain.meters import METER_FIELDS
from services.accounting.queries import BOOKS

# Rows of one part.
PART_SIZE: Final = 1_000
# Sorts after every text: names are printable.
LAST_TEXT: Final = "\U0010ffff"
_NANOS_PER_DOLLAR: Final = 10**9
_DAY: Final = dt.timedelta(days=1)

LOG_COLUMNS: Final[tuple[str, ...]] = (
    *("admit_time", "org", "call_id", "revision", "parent_call_id", "operation", "provider"),
    *("model", "api_key_id", "team", "user", "session", "feature", "labels", "outcome"),
    *("cost_basis", "price_version", "held_nanos", "total_nanos", "booked_nanos", "latency_ms"),
    *("error_type", "service_tier", *METER_FIELDS, "note", "audit_id"),
)
# Those of FOCUS 1.2 that apply to calls of AI providers.
FOCUS_COLUMNS: Final[tuple[str, ...]] = (
    *("BilledCost", "BillingAccountId", "BillingCurrency", "BillingPeriodEnd"),
    *("BillingPeriodStart", "ChargeCategory", "ChargeDescription", "ChargeFrequency"),
    *("ChargePeriodEnd", "ChargePeriodStart", "ConsumedQuantity", "ConsumedUnit"),
    *("ContractedCost", "EffectiveCost", "ListCost", "PricingQuantity", "PricingUnit"),
    *("ProviderName", "PublisherName", "InvoiceIssuerName", "ServiceCategory", "ServiceName"),
    *("SkuId", "SubAccountId", "Tags"),
)
_OUTCOMES: Final = ("", "succeeded", "provider_failed", "rejected", "aborted", "throttled")
_BASES: Final = ("", "meters", "hold", "none", "stated")

# A row of the database, by the names of its columns.
Row: TypeAlias = Any


class Format(enum.IntEnum):
    """How usage is written out; the numbers are the contract's."""

    CSV = 1
    JSON_LINES = 2
    FOCUS_CSV = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Some of the lines."""

    data: bytes
    # Rows so far, this part's included.
    row_count: int
    # Rows of the whole export, as counted at the start.
    total_count: int


class Exports:
    """Streams what is booked, in one snapshot: whatever is booked meanwhile is not in it."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def write(
        self, kind: Format, *, start: dt.datetime, end: dt.datetime, org: str
    ) -> AsyncIterator[Part]:
        """Yields the parts, the header in the first."""
        async with (
            self._pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            async for part in write_parts(connection, kind, start=start, end=end, org=org):
                yield part


async def write_parts(
    connection: Connection | Any, kind: Format, *, start: dt.datetime, end: dt.datetime, org: str
) -> AsyncIterator[Part]:
    """Yields the parts as the transaction of the connection sees the books."""
    if kind is Format.FOCUS_CSV:
        interval: tuple[Any, Any] = (start.date(), (end + _DAY - _INSTANT).date())
        count, query, header = BOOKS.count_focus.sql, BOOKS.export_focus.sql, FOCUS_COLUMNS
        render: Callable[[Row], Sequence[Any]] = _focus_row
    else:
        interval = (start, end)
        count, query, header = BOOKS.count_rows.sql, BOOKS.export_log.sql, LOG_COLUMNS
        render = _log_row
    arguments = (*interval, org, org or LAST_TEXT)
    total = await connection.fetchval(count, *arguments)
    done = 0
    rows: list[Sequence[Any]] = []
    first = True
    async for record in connection.cursor(query, *arguments, prefetch=PART_SIZE):
        rows.append(render(record))
        if len(rows) == PART_SIZE:
            done += len(rows)
            yield Part(
                data=_lines(kind, header, rows, first=first), row_count=done, total_count=total
            )
            rows, first = [], False
    if rows or first:
        done += len(rows)
        yield Part(data=_lines(kind, header, rows, first=first), row_count=done, total_count=total)


_INSTANT: Final = dt.timedelta(microseconds=1)


def _lines(
    kind: Format, header: Sequence[str], rows: Sequence[Sequence[Any]], *, first: bool
) -> bytes:
    if kind is Format.JSON_LINES:
        named = (dict(zip(header, row, strict=True)) for row in rows)
        texts = (
            json.dumps({name: value for name, value in each.items() if value not in (None, "")})
            for each in named
        )
        return "".join(f"{text}\n" for text in texts).encode()
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    if first:
        writer.writerow(header)
    writer.writerows([_guard(value) for value in row] for row in rows)
    return buffer.getvalue().encode()


def _guard(value: Any) -> Any:
    # A spreadsheet must not take a name for a formula.
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@"):
        return "'" + value
    if isinstance(value, dict):
        return json.dumps(value, sort_keys=True)
    return value


def _log_row(row: Row) -> list[Any]:
    labels = json.loads(row["labels"]) if row["labels"] else None
    parent = row["parent_call_id"]
    return [
        row["admit_time"].isoformat(),
        row["org"],
        str(row["call_id"]),
        row["revision"],
        None if parent is None else str(parent),
        *(row[name] for name in ("operation", "provider", "model", "api_key_id", "team")),
        *(row[name] for name in ("user_name", "session", "feature")),
        labels,
        _OUTCOMES[row["outcome"]],
        _BASES[row["cost_basis"]],
        *(row[name] for name in ("price_version", "held_nanos", "total_nanos", "booked_nanos")),
        *(row[name] for name in ("latency_ms", "error_type", "service_tier")),
        *(row[name] for name in METER_FIELDS),
        row["note"],
        row["audit_id"],
    ]


def _focus_row(row: Row) -> list[Any]:
    day: dt.date = row["day"]
    cost = dollars(int(row["cost_nanos"]))
    month = day.replace(day=1)
    next_month = (month + dt.timedelta(days=32)).replace(day=1)
    return [
        *(cost, row["provider"], "USD", _midnight(next_month), _midnight(month)),
        *("Usage", f"{row['operation']} with {row['model']}", "Usage-Based"),
        *(_midnight(day + _DAY), _midnight(day), row["call_count"], "Calls"),
        *(cost, cost, cost, row["call_count"], "Calls"),
        *(row["provider"], row["provider"], row["provider"], "AI and Machine Learning"),
        *(row["model"], f"{row['provider']}/{row['model']}", row["org"]),
        {"operation": row["operation"]},
    ]


def dollars(nanos: int) -> str:
    """Returns an amount in dollars to the nano, as text: "1.500000000"."""
    whole, part = divmod(abs(nanos), _NANOS_PER_DOLLAR)
    return f"{'-' if nanos < 0 else ''}{whole}.{part:09}"


def _midnight(day: dt.date) -> str:
    return f"{day.isoformat()}T00:00:00Z"
