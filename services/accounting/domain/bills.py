"""Providers' bills, as the providers write them."""

from __future__ import annotations

import csv
import datetime as dt
import enum
import io
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final, TypeVar

from services.accounting.domain.reconciliation import Place

T = TypeVar("T")

LINE_COUNT_MAX: Final = 10_000
# A billion dollars: more is no bill.
_DOLLARS_MAX: Final = Decimal(10**9)
_NANOS: Final = 10**9
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
# What providers append to a model's name to say which release of it answered.
_RELEASE: Final = re.compile(r"-(?:[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{8})$")


class BillFormat(enum.IntEnum):
    """How a bill is written; the numbers are the contract's."""

    OPENAI_COSTS = 1
    ANTHROPIC_COSTS = 2
    CSV = 3
    # Counts, see `usage_exports`.
    OPENAI_USAGE = 4
    ANTHROPIC_USAGE = 5


class BadBillError(ValueError):
    """The bill cannot be read; the message says where and why."""


def read_bill(content: bytes, kind: BillFormat) -> list[tuple[Place, int]]:
    """Returns the lines: day and model, and nano-US-dollars. Raises BadBillError."""
    readers = {
        BillFormat.OPENAI_COSTS: _read_openai,
        BillFormat.ANTHROPIC_COSTS: _read_anthropic,
        BillFormat.CSV: _read_csv,
    }
    return collect(content, readers[kind])


def collect(content: bytes, reader: Callable[[str], Iterator[T]]) -> list[T]:
    """Returns the lines of a text. Raises BadBillError."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadBillError("is not text in UTF-8") from None
    lines = []
    for line in reader(text):
        lines.append(line)
        if len(lines) > LINE_COUNT_MAX:
            raise BadBillError(f"has more than {LINE_COUNT_MAX} lines; send it in parts")
    if not lines:
        raise BadBillError("has no line with a cost")
    return lines


def match_model(billed: str, booked: Collection[str]) -> str:
    """Returns the name that the books have for a billed model, else its own.

    A bill names the release that answered, such as "gpt-4o-mini-2024-07-18", where the call named
    the model.
    """
    if billed in booked:
        return billed
    plain = plain_name(billed)
    return plain if plain in booked else billed


def plain_name(billed: str) -> str:
    """Returns a model's name without the release that answered."""
    return _RELEASE.sub("", billed)


def _read_openai(text: str) -> Iterator[tuple[Place, int]]:
    for where, bucket in buckets(text):
        day = day_of_second(f"{where}.start_time", bucket.get("start_time"))
        for place, result in results(where, bucket):
            amount = result.get("amount")
            if not isinstance(amount, dict):
                raise BadBillError(f"{place}.amount is missing")
            _check_currency(f"{place}.amount.currency", amount.get("currency"))
            nanos = _nanos(f"{place}.amount.value", amount.get("value"))
            # Such as "gpt-4o-mini-2024-07-18, input".
            line_item = result.get("line_item") or ""
            yield (day, str(line_item).partition(",")[0].strip()), nanos


def _read_anthropic(text: str) -> Iterator[tuple[Place, int]]:
    for where, bucket in buckets(text):
        day = parse_day(f"{where}.starting_at", str(bucket.get("starting_at"))[:10])
        for place, result in results(where, bucket):
            _check_currency(f"{place}.currency", result.get("currency"))
            # In cents, with fractions.
            nanos = _nanos(f"{place}.amount", result.get("amount"), unit=Decimal("0.01"))
            yield (day, str(result.get("model") or "")), nanos


def _read_csv(text: str) -> Iterator[tuple[Place, int]]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    missing = {"day", "cost", "currency"} - set(reader.fieldnames or ())
    if missing:
        raise BadBillError(f"lacks the column {sorted(missing)[0]}")
    try:
        for number, row in enumerate(reader, start=2):
            where = f"line {number}"
            _check_currency(f"{where}: currency", row["currency"])
            day = parse_day(f"{where}: day", row["day"] or "")
            nanos = _nanos(f"{where}: cost", row["cost"])
            yield (day, (row.get("model") or "").strip()), nanos
    except csv.Error as error:
        raise BadBillError(f"is no CSV: {error}") from None


def buckets(text: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yields the parts of a provider's answer, and their places. Raises BadBillError."""
    try:
        document = json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        raise BadBillError("is not JSON") from None
    data = document.get("data") if isinstance(document, dict) else None
    if not isinstance(data, list):
        raise BadBillError("has no list `data`")
    for number, bucket in enumerate(data):
        if not isinstance(bucket, dict):
            raise BadBillError(f"data[{number}] is no object")
        yield f"data[{number}]", bucket


def results(where: str, bucket: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yields the lines of a part, and their places. Raises BadBillError."""
    results = bucket.get("results")
    if not isinstance(results, list):
        raise BadBillError(f"{where} has no list `results`")
    for number, result in enumerate(results):
        if not isinstance(result, dict):
            raise BadBillError(f"{where}.results[{number}] is no object")
        yield f"{where}.results[{number}]", result


def _check_currency(where: str, value: object) -> None:
    if str(value).upper() != "USD":
        raise BadBillError(f"{where} is {value!r}: only US dollars can be compared")


def day_of_second(where: str, value: object) -> dt.date:
    """Returns the day in UTC of a time in seconds. Raises BadBillError."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**33:
        raise BadBillError(f"{where} is not a time in seconds")
    return dt.datetime.fromtimestamp(value, dt.UTC).date()


def parse_day(where: str, text: str) -> dt.date:
    """Returns a day such as 2026-01-31. Raises BadBillError."""
    try:
        if _DAY.fullmatch(text):
            return dt.date.fromisoformat(text)
    except ValueError:
        pass
    raise BadBillError(f"{where} is {text!r}, not a day such as 2026-01-31")


def _nanos(where: str, value: object, *, unit: Decimal = Decimal(1)) -> int:
    if isinstance(value, (str, int, float)) and not isinstance(value, bool):
        try:
            # A float is taken as it is written.
            dollars = Decimal(str(value)) * unit
        except InvalidOperation:
            dollars = Decimal("NaN")
        if dollars.is_finite() and abs(dollars) <= _DOLLARS_MAX:
            return int((dollars * _NANOS).to_integral_value())
    raise BadBillError(f"{where} is {value!r}, not an amount")
