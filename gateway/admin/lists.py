"""Pages of the gateway's own lists."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

from chassis import paging
from chassis.errors import FieldViolation, InvalidArgument
from gateway.store import TOP

PAGE_SIZE_DEFAULT: Final = 100
# Less than a message may have; one row of the audit log has up to half a megabyte.
PAGE_BYTES_MAX: Final = 4 * 1024 * 1024

Row = TypeVar("Row")
Cursor = TypeVar("Cursor", int, str)


class PageRequest(Protocol):
    """Any request for a page."""

    @property
    def page_size(self) -> int:
        """Rows wanted; 0 asks for the default."""

    @property
    def page_token(self) -> str:
        """Where the page starts; empty at the beginning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place(Generic[Cursor]):
    """Where a page starts and how long it may be."""

    list_name: str
    size: int
    # Sort key of the last row before the page.
    start: Cursor


def newest_first(request: PageRequest, list_name: str) -> Place[int]:
    """Returns the place in a list that is read downwards. Raises InvalidArgument."""
    return _find(request, list_name, int, TOP)


def oldest_first(request: PageRequest, list_name: str) -> Place[int]:
    """Returns the place in a list that is read upwards. Raises InvalidArgument."""
    return _find(request, list_name, int, 0)


def in_order(request: PageRequest, list_name: str) -> Place[str]:
    """Returns the place in a list that is sorted by names. Raises InvalidArgument."""
    return _find(request, list_name, str, "")


def take_page(
    rows: Sequence[Row],
    place: Place[Cursor],
    key: Callable[[Row], Cursor],
    *,
    weigh: Callable[[Row], int] = lambda _: 0,
) -> tuple[Sequence[Row], str]:
    """Returns the page and the token of the next one, from up to one row more than fit.

    Rows that are `weigh` bytes long are fewer on a page, but never none.
    """
    count, total = 0, 0
    for row in rows[: place.size]:
        total += weigh(row)
        if count and total > PAGE_BYTES_MAX:
            break
        count += 1
    if count == len(rows):
        return rows, ""
    page = rows[:count]
    return page, paging.encode_token((key(page[-1]),), list=place.list_name)


def _find(
    request: PageRequest, list_name: str, kind: type[Cursor], beginning: Cursor
) -> Place[Cursor]:
    size = paging.page_size(request.page_size, default=PAGE_SIZE_DEFAULT)
    cursor = paging.decode_token(request.page_token, list=list_name)
    if cursor is None:
        return Place(list_name=list_name, size=size, start=beginning)
    start = cursor[0] if len(cursor) == 1 else None
    if type(start) is not kind or (isinstance(start, int) and not 0 <= start <= TOP):
        violation = FieldViolation("page_token", "is not one of ours; start again without it")
        raise InvalidArgument([violation])
    return Place(list_name=list_name, size=size, start=start)
