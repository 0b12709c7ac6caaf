"""How many rows a page has."""

from __future__ import annotations

import pytest

from gateway.admin.lists import PAGE_BYTES_MAX, Place, take_page

HALF = PAGE_BYTES_MAX // 2


def take(rows: list[int], size: int) -> tuple[list[int], bool]:
    """Rows that weigh what they are."""
    place = Place(list_name="rows", size=size, start=0)
    page, token = take_page(rows, place, lambda row: row, weigh=lambda row: row)
    return list(page), bool(token)


@pytest.mark.parametrize(
    ("rows", "size", "page", "has_next"),
    [
        ([], 2, [], False),
        ([1, 2], 2, [1, 2], False),
        ([1, 2, 3], 2, [1, 2], True),
        ([HALF, HALF], 2, [HALF, HALF], False),
        ([HALF, HALF, 1], 3, [HALF, HALF], True),
        ([PAGE_BYTES_MAX + 1, 1], 3, [PAGE_BYTES_MAX + 1], True),
        ([PAGE_BYTES_MAX + 1], 3, [PAGE_BYTES_MAX + 1], False),
    ],
)
def test_a_page_has_as_many_rows_as_fit_and_never_none(
    rows: list[int], size: int, page: list[int], has_next: bool
) -> None:
    assert take(rows, size) == (page, has_next)
