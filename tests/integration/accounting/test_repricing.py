"""Pricing the past again: a dry run first, a page at a time, each call once, whoever is killed."""

from __future__ import annotations

import datetime as dt
from typing import Any

import grpc
import pytest

from chassis.database import Connection
from headgate.api.accounting.v1 import accounting_pb2
from headgate.api.accounting.v1 import books_pb2 as pb
from headgate.api.common.v1 import call_pb2
from services.accounting.books import repricing
from tests.integration.accounting.refusals import refusal
from tests.integration.accounting.replicas import Replica, Stub
from tests.integration.accounting.samples import MODEL, PROVIDER, SAMPLE_NANOS, now, report
from tests.integration.accounting.test_books import (
    WHOLE,
    assert_sums_hold,
    book,
    books,
    instant,
    price,
)

__all__ = ["books"]


START = instant(now() - WHOLE)
END = instant(now() + WHOLE)


def reprice(**changes: Any) -> pb.RepriceRequest:
    fields: dict[str, Any] = {
        "start_time": START,
        "end_time": END,
        "audit_id": "a9",
    }
    return pb.RepriceRequest(**(fields | changes))


async def test_the_past_is_priced_again_only_when_told_and_only_once(
    stub: Stub, books: Any, admin: Connection
) -> None:
    await book(stub)
    unpriced = await book(
        stub, candidate=call_pb2.Candidate(provider=PROVIDER, model="new"), held_nanos=9_999
    )
    credited = await book(stub, org="globex")
    await books.AdjustUsage(
        pb.AdjustUsageRequest(
            org="globex", call_id=credited, delta_nanos=-1, note="n", audit_id="a"
        )
    )
    right: dict[str, Any] = {"effective_time": instant(now() - WHOLE)}
    for each in (price(2, **right), price(3, model="new", **right)):
        await stub.PutPrice(accounting_pb2.PutPriceRequest(price=each, audit_id=each.model))
    before = SAMPLE_NANOS + 9_999 + SAMPLE_NANOS - 1

    dry = await books.Reprice(reprice())
    await assert_sums_hold(admin, before)
    done = await books.Reprice(reprice(apply=True, expected_version=dry.version))
    again = await books.Reprice(reprice(apply=True, expected_version=dry.version))

    assert (dry.total.call_count, dry.total.changed_count) == (2, 2)
    assert (dry.total.before_nanos, dry.total.after_nanos) == (SAMPLE_NANOS + 9_999, 550)
    assert [each.model for each in dry.models] == [MODEL, "new"]
    assert done == dry
    assert again.total.changed_count == 0
    await assert_sums_hold(admin, 220 + 330 + SAMPLE_NANOS - 1)
    assert await admin.fetchval("SELECT sum(unreported_count)::int FROM rollup_platform_day") == 0
    row = await admin.fetchrow(
        "SELECT total_nanos, cost_basis, price_version FROM usage_log"
        " WHERE call_id = $1 AND revision = 2",
        unpriced,
    )
    assert row is not None
    assert tuple(row) == (330, call_pb2.COST_BASIS_METERS, dry.version)


async def test_a_dry_run_of_another_book_is_not_applied(stub: Stub, books: Any) -> None:
    await book(stub)
    dry = await books.Reprice(reprice())
    await stub.PutPrice(accounting_pb2.PutPriceRequest(price=price(2), audit_id="p"))

    error = await refusal(books.Reprice(reprice(apply=True, expected_version=dry.version)))

    assert error.code is grpc.StatusCode.FAILED_PRECONDITION
    assert error.reason == "PRICE_VERSION_CHANGED"


async def book_days(stub: Stub) -> int:
    """Books five calls on each of three days, of two orgs; returns how many."""
    days = [now() - dt.timedelta(days=number) for number in range(3)]
    for day in days:
        for number in range(5):
            await book(stub, org=f"org-{number % 2}", admit_time=instant(day))
    return 15


async def go_through(books: Any, **changes: Any) -> list[pb.RepriceResponse]:
    pages = [await books.Reprice(reprice(**changes))]
    while pages[-1].next_page_token:
        request = reprice(page_token=pages[-1].next_page_token, **changes)
        pages.append(await books.Reprice(request))
    return pages


async def test_it_goes_through_an_interval_a_page_at_a_time(
    stub: Stub, books: Any, admin: Connection
) -> None:
    count = await book_days(stub)
    right = price(2, effective_time=instant(now() - WHOLE))
    await stub.PutPrice(accounting_pb2.PutPriceRequest(price=right, audit_id="p"))
    dry = await go_through(books, page_size=2)
    applying = {"page_size": 2, "apply": True, "expected_version": dry[0].version}
    # Whoever applied the first pages is gone; another begins anew, and repeats them.
    first = await books.Reprice(reprice(**applying))
    done = await go_through(books, **applying)

    assert len(dry) > count // 2
    assert sum(page.total.changed_count for page in dry) == count
    assert sum(page.total.call_count for page in done) == count
    assert sum(page.total.changed_count for page in (first, *done)) == count
    reached = [page.reach_time.ToDatetime() for page in dry]
    assert reached == sorted(reached)
    assert dry[-1].reach_time == END
    await assert_sums_hold(admin, count * 220)
    assert await admin.fetchval("SELECT max(revision) FROM usage_log") == 2


async def test_a_page_ends_when_its_time_is_used(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    await replica.ledger.record([report() for _ in range(3)])
    monkeypatch.setattr(repricing, "PART_SIZE", 1)
    scope = repricing.Scope(start=now() - WHOLE, end=now() + WHOLE, org="", provider="", model="")
    order = repricing.Order(scope=scope, after=None, count=10, expected_version=None, audit_id="a")
    page = await repricing.Repricing(replica.pool, replica.prices).reprice(order, until=0)

    # The first of the days before is empty.
    assert page.next is not None
    assert not page.models


async def test_a_token_goes_with_the_calls_it_was_given_for(stub: Stub, books: Any) -> None:
    await book_days(stub)
    page = await books.Reprice(reprice(page_size=2))
    tokens = [(page.next_page_token, "other"), ("x", "")]
    errors = [
        await refusal(books.Reprice(reprice(page_token=token, org=org))) for token, org in tokens
    ]

    assert [each.violations[0].field for each in errors] == ["page_token"] * 2
