"""Imports of a catalogue: what differs makes one version, nothing good is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from chassis.database import Connection
from services.accounting.domain.pricebook import CataloguePrice
from services.accounting.domain.pricing import Price
from tests.integration.accounting.replicas import Open, Replica
from tests.integration.accounting.samples import put_price, sample_price


def offered(*prices: tuple[str, int]) -> Sequence[CataloguePrice]:
    return [
        CataloguePrice(provider="p", model=model, price=sample_price(nanos))
        for model, nanos in prices
    ]


async def test_an_import_repeated_changes_nothing(replica: Replica, admin: Connection) -> None:
    first, _ = await replica.price_store.import_catalogue(offered(("m", 1), ("n", 2)))
    before = await admin.fetch("SELECT * FROM model_price ORDER BY price_id")

    second, change = await replica.price_store.import_catalogue(offered(("m", 1), ("n", 2)))

    assert (first, second) == (2, 2)
    assert (change.written, change.unchanged_count) == ((), 2)
    assert await admin.fetch("SELECT * FROM model_price ORDER BY price_id") == before


async def test_an_import_ends_the_price_that_it_replaces_and_keeps_what_is_gone(
    replica: Replica,
) -> None:
    await replica.price_store.import_catalogue(offered(("m", 1), ("n", 2)))
    version, change = await replica.price_store.import_catalogue(offered(("m", 5)))
    book = await replica.prices.refresh()

    def nanos(model: str, version: int) -> Price | None:
        return book.price_at(version, provider="p", model=model, org="acme")

    assert (version, change.replaced_count) == (3, 1)
    assert [nanos("m", at) for at in (1, 2, 3)] == [None, sample_price(1), sample_price(5)]
    assert [nanos("n", at) for at in (2, 3)] == [sample_price(2), sample_price(2)]


async def test_an_override_survives_an_import(replica: Replica) -> None:
    await put_price(
        replica.prices, provider="p", model="m", org="", price=sample_price(9), audit_id="a"
    )
    await replica.price_store.import_catalogue(offered(("m", 1)))
    book = await replica.prices.refresh()

    assert book.price_at(book.version, provider="p", model="m", org="acme") == sample_price(9)


async def test_imports_at_once_make_one_version(start: Open) -> None:
    replicas = [await start() for _ in range(3)]
    results = await asyncio.gather(
        *[each.price_store.import_catalogue(offered(("m", 1))) for each in replicas]
    )

    assert [version for version, _ in results] == [2, 2, 2]
    assert sorted(len(change.written) for _, change in results) == [0, 0, 1]
