"""The price book: versions, overrides, imports, and calls priced as they were admitted."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc

from chassis.database import Connection
from headgate.api.accounting.v1 import accounting_pb2 as pb
from headgate.api.common.v1 import price_pb2
from services.accounting.domain.usage import Booking, CostBasis
from services.accounting.overrides import PriceKey
from tests.integration.accounting.refusals import refusal
from tests.integration.accounting.replicas import Open, Replica, Stub
from tests.integration.accounting.samples import (
    MODEL,
    PROVIDER,
    SAMPLE_BOOK,
    SAMPLE_NANOS,
    message,
    put_price,
    report,
    sample_price,
)


def put(nanos: int, audit_id: str, *, org: str = "") -> pb.PutPriceRequest:
    meters = [
        price_pb2.MeterPrice(meter=meter, nanos_per_million=nanos * 10**6)
        for meter in (price_pb2.METER_INPUT, price_pb2.METER_OUTPUT)
    ]
    return pb.PutPriceRequest(
        price=price_pb2.ModelPrice(provider=PROVIDER, model=MODEL, org=org, meters=meters),
        audit_id=audit_id,
    )


def delete(audit_id: str, *, org: str = "") -> pb.DeletePriceRequest:
    return pb.DeletePriceRequest(provider=PROVIDER, model=MODEL, org=org, audit_id=audit_id)


async def cost(replica: Replica, **changes: Any) -> int:
    (answer,) = await replica.ledger.record([report(**changes)])
    assert isinstance(answer, Booking), answer
    return answer.total_nanos


async def test_a_call_is_priced_at_the_version_of_its_admission(replica: Replica) -> None:
    target = {"provider": PROVIDER, "model": MODEL, "org": ""}
    await put_price(replica.prices, **target, price=sample_price(7), audit_id="a")
    await put_price(replica.prices, **target, price=sample_price(9), audit_id="b")
    await replica.prices.delete(PriceKey(PROVIDER, MODEL, ""), audit_id="c")

    costs = [await cost(replica, price_version=version) for version in (1, 2, 3, 4, 99)]

    assert costs == [SAMPLE_NANOS, 7 * 110, 9 * 110, SAMPLE_NANOS, SAMPLE_NANOS]


async def test_an_override_is_for_its_org(replica: Replica) -> None:
    await put_price(
        replica.prices,
        provider=PROVIDER,
        model=MODEL,
        org="acme",
        price=sample_price(7),
        audit_id="a",
    )

    assert await cost(replica, org="acme", price_version=2) == 7 * 110
    assert await cost(replica, org="globex", price_version=2) == SAMPLE_NANOS


async def test_usage_without_a_price_is_booked_at_its_hold_and_counted(
    replica: Replica, admin: Connection
) -> None:
    (answer,) = await replica.ledger.record([report(model="unheard-of", held_nanos=77)])

    assert answer == Booking(77, CostBasis.HOLD, revision=1, first=True, token_count=110)
    row = await admin.fetchrow(
        "SELECT unreported_count, unreported_cost_nanos FROM rollup_org_day"
    )
    assert row is not None
    assert tuple(row) == (1, 77)


async def test_the_book_is_sent_once_per_version(stub: Stub) -> None:
    first = await stub.GetPriceBook(pb.GetPriceBookRequest())
    other = await stub.GetPriceBook(pb.GetPriceBookRequest())
    again = await stub.GetPriceBook(pb.GetPriceBookRequest(known_version=first.version))
    await stub.PutPrice(put(7, "a"))
    changed = await stub.GetPriceBook(pb.GetPriceBookRequest(known_version=first.version))
    ahead = await stub.GetPriceBook(pb.GetPriceBookRequest(known_version=99))

    assert (first.version, len(first.prices)) == (1, len(SAMPLE_BOOK))
    assert other == first
    assert (again.version, len(again.prices)) == (1, 0)
    assert (changed.version, len(changed.prices)) == (2, len(SAMPLE_BOOK))
    assert (ahead.version, len(ahead.prices)) == (2, 0)


async def test_the_book_says_all_that_a_price_is(stub: Stub) -> None:
    book = await stub.GetPriceBook(pb.GetPriceBookRequest())

    found = next(each for each in book.prices if each.model == "gemini-2.5-pro")
    assert (found.provider, found.org, found.source) == ("google", "", "catalogue")
    assert found.start_time.seconds > 0
    meters = {each.meter: each for each in found.meters}
    assert meters[price_pb2.METER_CACHE_READ].nanos_per_million == 125_000_000
    (tier,) = meters[price_pb2.METER_INPUT].tiers
    assert (tier.input_token_threshold, tier.nanos_per_million) == (200_000, 2_500_000_000)


async def test_overrides_are_in_the_book_beside_what_others_pay(stub: Stub) -> None:
    stored = await stub.PutPrice(put(7, "a", org="acme"))
    book = await stub.GetPriceBook(pb.GetPriceBookRequest())

    sources = {(each.org, each.source) for each in book.prices if each.model == MODEL}
    assert sources == {("", "catalogue"), ("acme", "override")}
    assert (stored.version, stored.price.source, stored.price.org) == (2, "override", "acme")
    assert stored.price in book.prices


async def test_a_change_repeated_with_its_audit_id_is_made_once(
    stub: Stub, admin: Connection
) -> None:
    first = await stub.PutPrice(put(7, "a"))
    await stub.PutPrice(put(8, "b"))

    assert await stub.PutPrice(put(7, "a")) == first
    assert await admin.fetchval("SELECT version FROM price_book") == 3

    ended = await stub.DeletePrice(delete("c"))
    assert await stub.DeletePrice(delete("c")) == ended
    assert ended.version == 4
    assert await admin.fetchval("SELECT version FROM price_book") == 4


async def test_an_audit_id_reused_for_another_change_is_refused(
    stub: Stub, admin: Connection
) -> None:
    await stub.PutPrice(put(7, "a"))
    await stub.PutPrice(put(7, "b", org="acme"))
    await stub.DeletePrice(delete("c", org="acme"))

    for call in (
        stub.PutPrice(put(8, "a")),
        stub.DeletePrice(delete("a")),
        stub.PutPrice(put(7, "c", org="acme")),
    ):
        error = await refusal(call)
        assert (error.code, error.reason) == (grpc.StatusCode.ALREADY_EXISTS, "ID_REUSED")
    assert await admin.fetchval("SELECT version FROM price_book") == 4


async def test_ending_what_is_not_there_says_so(stub: Stub, admin: Connection) -> None:
    error = await refusal(stub.DeletePrice(delete("a")))

    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "PRICE_NOT_FOUND")
    assert await admin.fetchval("SELECT version FROM price_book") == 1
    assert await admin.fetchval("SELECT count(*) FROM change_log") == 0


async def test_changes_are_logged_with_before_and_after(stub: Stub, admin: Connection) -> None:
    await stub.PutPrice(put(7, "a"))
    await stub.PutPrice(put(8, "b"))
    await stub.DeletePrice(delete("c"))

    rows = await admin.fetch(
        "SELECT audit_id, target, version, before->'input'->>'nanos' AS before,"
        " after->'input'->>'nanos' AS after FROM change_log ORDER BY version"
    )

    target = f"price//{PROVIDER}/{MODEL}"
    assert [tuple(row) for row in rows] == [
        ("a", target, 2, None, "7000000"),
        ("b", target, 3, "7000000", "8000000"),
        ("c", target, 4, "8000000", None),
    ]


async def test_concurrent_changes_each_make_a_version_of_their_own(
    start: Open, admin: Connection
) -> None:
    replicas = [await start() for _ in range(2)]
    entries = await asyncio.gather(
        *[
            put_price(
                replicas[number % 2].prices,
                provider=PROVIDER,
                model=MODEL,
                org="",
                price=sample_price(number),
                audit_id=f"a-{number}",
            )
            for number in range(1, 9)
        ]
    )

    assert sorted(each.since_version for each in entries) == list(range(2, 10))
    in_force = (
        "SELECT count(*) FROM model_price WHERE until_version IS NULL AND source = 'override'"
    )
    assert await admin.fetchval(in_force) == 1


async def test_a_price_that_no_report_can_need_any_more_is_not_read(
    start: Open, admin: Connection
) -> None:
    replica = await start()
    target = {"provider": PROVIDER, "model": MODEL, "org": ""}
    await put_price(replica.prices, **target, price=sample_price(7), audit_id="a")
    await put_price(replica.prices, **target, price=sample_price(8), audit_id="b")
    await admin.execute(
        "UPDATE model_price SET end_time = end_time - interval '36 days 1 minute'"
        " WHERE until_version IS NOT NULL"
    )

    _, entries = await replica.price_store.list_changes(0)

    assert sample_price(7) not in [each.price for each in entries]
    assert sample_price(8) in [each.price for each in entries]


async def test_a_record_over_the_wire_tells_cost_and_basis(stub: Stub) -> None:
    response = await stub.Record(
        pb.RecordRequest(reports=[message(), message(meters=None), message()])
    )

    assert [each.booking.total_nanos for each in response.results] == [
        SAMPLE_NANOS,
        50_000,
        SAMPLE_NANOS,
    ]
    assert [each.booking.cost_basis for each in response.results] == [1, 2, 1]
    assert all(each.booking.revision == 1 for each in response.results)
