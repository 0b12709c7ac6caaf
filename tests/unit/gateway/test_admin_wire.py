"""Every wrong field of what staff send is named, with the fix."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from chassis import paging
from chassis.errors import InvalidArgument
from gateway.admin import audit, lists, wire
from gateway.admin.prices import StoredPrices
from gateway.store import AuditRecord
from headgate.api.accounting.v1 import accounting_pb2
from headgate.api.common.v1 import call_pb2, price_pb2
from headgate.api.gateway.v1 import admin_pb2 as pb
from tests.unit.gateway.calls import ACME

CANDIDATE = call_pb2.Candidate(provider="openai", model="gpt-4o-mini")


def fields(refused: pytest.ExceptionInfo[InvalidArgument]) -> list[str]:
    assert all(each.description for each in refused.value.violations)
    return [each.field for each in refused.value.violations]


def test_pages_end_and_tokens_belong_to_their_list() -> None:
    place = lists.newest_first(pb.ListApiKeysRequest(page_size=2), "api_keys")
    page, token = lists.take_page([9, 8, 7], place, lambda row: row)
    following = lists.newest_first(pb.ListApiKeysRequest(page_token=token), "api_keys")

    assert (page, following.start, following.size) == ([9, 8], 8, 100)
    assert lists.take_page([7], following, lambda row: row) == ([7], "")
    with pytest.raises(InvalidArgument) as refused:
        lists.newest_first(pb.ListApiKeysRequest(page_token=token), "audit_entries")
    assert fields(refused) == ["page_token"]
    with pytest.raises(InvalidArgument) as refused:
        lists.in_order(pb.ListApiKeysRequest(page_token=token), "api_keys")
    assert fields(refused) == ["page_token"]


def test_a_negative_page_is_refused_and_a_large_one_cut() -> None:
    with pytest.raises(InvalidArgument) as refused:
        lists.in_order(pb.ListRoutesRequest(page_size=-1), "routes")
    assert fields(refused) == ["page_size"]
    assert lists.in_order(pb.ListRoutesRequest(page_size=5_000), "routes").size == 1_000


def test_an_intent_keeps_the_words_but_only_storable_ones() -> None:
    request = pb.DeleteLimitRequest(limit_id="a\x00b")

    intent = audit.describe(ACME, "DeleteLimit", f"limit/{request.limit_id}" + "x" * 300, request)

    assert (intent.actor, intent.action) == (ACME.actor, "DeleteLimit")
    assert intent.target.startswith("limit/a?b")
    assert len(intent.target) == 256
    assert intent.request_json == '{"limit_id": "a\\u0000b"}'


def test_an_intent_does_not_keep_a_flood_of_words() -> None:
    request = pb.DeleteLimitRequest(limit_id="x" * 70_000)

    intent = audit.describe(ACME, "DeleteLimit", "limit/x", request)

    assert intent.request_json == f'{{"omitted_byte_count": {request.ByteSize()}}}'


@pytest.mark.parametrize(
    ("done", "state"),
    [
        (None, pb.AUDIT_STATE_INTENDED),
        (True, pb.AUDIT_STATE_DONE),
        (False, pb.AUDIT_STATE_FAILED),
    ],
)
def test_an_entry_says_where_its_change_stands(done: bool | None, state: int) -> None:
    entry = AuditRecord(
        audit_id="a",
        position=1,
        create_time=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        actor="k",
        action="PutLimit",
        target="limit/x",
        request_json="{}",
        reason="",
        done=done,
        error="",
    )

    assert wire.render_entry(entry).state == state


class Book:
    """Stands for accounting: always the same prices."""

    async def pull_price_book(self, known_version: int) -> accounting_pb2.GetPriceBookResponse:
        prices = [
            price_pb2.ModelPrice(provider=provider, model=model, org=org)
            for provider, model, org in (("b", "x", "acme"), ("b", "x", ""), ("a", "z", ""))
        ]
        return accounting_pb2.GetPriceBookResponse(version=1, prices=prices)


async def test_prices_come_in_order_and_their_tokens_belong_to_the_filter() -> None:
    accounting: Any = Book()
    accounting.stub = None
    prices = StoredPrices(accounting, audit=accounting)
    first = await prices.list(pb.ListPricesRequest(page_size=2))
    second = await prices.list(pb.ListPricesRequest(page_token=first.next_page_token))
    filtered = await prices.list(pb.ListPricesRequest(provider="a"))

    names = [(each.provider, each.org) for each in (*first.prices, *second.prices)]
    assert names == [("a", ""), ("b", ""), ("b", "acme")]
    assert second.next_page_token == ""
    assert [each.provider for each in filtered.prices] == ["a"]
    forged = paging.encode_token(("a", 1, ""), list="prices", provider="")
    for request in (
        pb.ListPricesRequest(provider="a", page_token=first.next_page_token),
        pb.ListPricesRequest(page_token=forged),
    ):
        with pytest.raises(InvalidArgument) as refused:
            await prices.list(request)
        assert fields(refused) == ["page_token"]
