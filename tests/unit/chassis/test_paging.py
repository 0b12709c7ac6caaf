from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.errors import InvalidArgument
from chassis.paging import PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX, decode_token, encode_token, page_size

SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=20)


@given(st.lists(SCALARS, max_size=4), SCALARS)
def test_a_token_leads_back_to_its_cursor(cursor: list[str | int | bool | None], org: str) -> None:
    token = encode_token(tuple(cursor), org=org, mode=1)

    assert decode_token(token, mode=1, org=org) == tuple(cursor)


def test_no_token_is_the_first_page() -> None:
    assert decode_token("", org="acme") is None


@given(st.text(max_size=40))
def test_a_token_of_somebody_elses_making_is_refused(token: str) -> None:
    if not token:
        return
    with pytest.raises(InvalidArgument) as caught:
        decode_token(token, org="acme")

    assert [violation.field for violation in caught.value.violations] == ["page_token"]


@pytest.mark.parametrize("body", [b"{}", b"[[1]]", b"1", b"[1", b""])
def test_a_token_that_holds_no_cursor_is_refused(body: bytes) -> None:
    token = base64.urlsafe_b64encode(b"12345678" + body).decode()
    with pytest.raises(InvalidArgument, match="start again without it"):
        decode_token(token)


def test_a_token_of_another_list_is_refused() -> None:
    token = encode_token((1,), org="acme")
    with pytest.raises(InvalidArgument, match="belongs to other parameters"):
        decode_token(token, org="globex")


def test_the_page_size_has_a_default_and_a_most() -> None:
    assert page_size(0) == PAGE_SIZE_DEFAULT
    assert page_size(7) == 7
    assert page_size(PAGE_SIZE_MAX + 1) == PAGE_SIZE_MAX
    with pytest.raises(InvalidArgument, match="page_size: must not be negative"):
        page_size(-1)
