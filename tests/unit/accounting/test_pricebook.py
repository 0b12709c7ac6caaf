"""Which price binds for a model, an org and a version."""

from __future__ import annotations

import datetime as dt
import itertools
from dataclasses import replace

from services.accounting.domain.meters import Meter
from services.accounting.domain.pricebook import (
    CatalogueChange,
    CataloguePrice,
    PriceBook,
    PriceEntry,
    PriceSource,
    compare_catalogue,
)
from services.accounting.domain.pricing import Price, Rate

ids = itertools.count(1)


def price(nanos: int) -> Price:
    return Price({Meter.INPUT: Rate(nanos), Meter.OUTPUT: Rate(nanos)})


def entry(
    nanos: int,
    *,
    since: int = 1,
    until: int | None = None,
    org: str = "",
    source: PriceSource = PriceSource.CATALOGUE,
    model: str = "m",
    price_id: int | None = None,
) -> PriceEntry:
    return PriceEntry(
        price_id=price_id or next(ids),
        provider="p",
        model=model,
        org=org,
        source=source,
        price=price(nanos),
        since_version=since,
        until_version=until,
        start_time=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    )


def nanos_at(book: PriceBook, version: int, *, org: str = "acme", model: str = "m") -> int | None:
    found = book.price_at(version, provider="p", model=model, org=org)
    return None if found is None else found.rates[Meter.INPUT].nanos_per_million


def test_an_empty_book_prices_nothing() -> None:
    assert nanos_at(PriceBook(), 1) is None
    assert list(PriceBook().in_force()) == []


def test_a_price_binds_from_its_first_version_to_before_its_last() -> None:
    book = PriceBook().merge(5, [entry(10, since=2, until=4), entry(20, since=4)])

    assert [nanos_at(book, version) for version in range(1, 7)] == [None, 10, 10, 20, 20, 20]


def test_an_override_wins_over_the_catalogue_and_an_orgs_over_the_platforms() -> None:
    override = PriceSource.OVERRIDE
    book = PriceBook().merge(
        1,
        [
            entry(30, source=override, org="acme"),
            entry(10),
            entry(20, source=override),
            entry(40, source=override, org="globex"),
        ],
    )

    assert nanos_at(book, 1, org="acme") == 30
    assert nanos_at(book, 1, org="globex") == 40
    assert nanos_at(book, 1, org="initech") == 20
    assert nanos_at(book, 1, model="other") is None


def test_a_merge_replaces_an_entry_that_ended_and_leaves_the_earlier_book_alone() -> None:
    first = PriceBook().merge(1, [entry(10, price_id=77)])
    second = first.merge(2, [entry(10, price_id=77, until=2), entry(20, since=2)])

    assert (first.version, second.version) == (1, 2)
    assert nanos_at(first, 2) == 10
    assert nanos_at(second, 1) == 10
    assert nanos_at(second, 2) == 20


def test_in_force_yields_the_winner_for_each_model_and_org() -> None:
    override = PriceSource.OVERRIDE
    book = PriceBook().merge(
        3,
        [
            entry(20, source=override),
            entry(10),
            entry(5, until=3, source=override),
            entry(30, source=override, org="acme"),
            entry(40, model="n", until=2),
        ],
    )

    found = {(each.model, each.org): each.price for each in book.in_force()}

    assert found == {("m", ""): price(20), ("m", "acme"): price(30)}


def offered(model: str, nanos: int) -> CataloguePrice:
    return CataloguePrice(provider="p", model=model, price=price(nanos))


def test_an_import_writes_only_what_differs_and_ends_nothing() -> None:
    stored = {("p", "same"): price(1), ("p", "dearer"): price(1), ("p", "gone"): price(1)}

    change = compare_catalogue(
        stored, [offered("same", 1), offered("dearer", 2), offered("new", 3)]
    )

    assert change == CatalogueChange(
        written=(offered("dearer", 2), offered("new", 3)),
        replaced_count=1,
        unchanged_count=1,
        kept_count=1,
    )


NEW_YEAR = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def effective(book: PriceBook, days: int, **names: str) -> int | None:
    names = {"provider": "p", "model": "m", "org": "acme"} | names
    found = book.price_effective(NEW_YEAR + dt.timedelta(days=days), **names)
    return None if found is None else found.rates[Meter.INPUT].nanos_per_million


def test_the_past_is_priced_by_what_was_effective_then_as_the_book_sees_it_now() -> None:
    ended = replace(entry(10, until=2), end_time=NEW_YEAR + dt.timedelta(days=10))
    since_ten = replace(entry(20, since=2), start_time=NEW_YEAR + dt.timedelta(days=10))
    correction = replace(
        entry(30, since=3, source=PriceSource.OVERRIDE, org="acme"),
        start_time=NEW_YEAR + dt.timedelta(days=20),
        effective_time=NEW_YEAR + dt.timedelta(days=5),
    )
    later = replace(correction, price_id=99, price=price(40), since_version=4)
    book = PriceBook().merge(4, [ended, since_ten, correction, later])

    assert [effective(book, days) for days in (-1, 0, 4, 5, 15)] == [None, 10, 10, 40, 40]
    assert [effective(book, days, org="globex") for days in (4, 9, 10)] == [10, 10, 20]
    assert effective(book, 4, model="other") is None


def test_a_flat_price_is_for_models_of_its_operation_that_have_none() -> None:
    flat = replace(entry(70), provider="", model="", operation="draw")
    book = PriceBook().merge(1, [entry(10), flat])

    def at(model: str, operation: str) -> Price | None:
        return book.price_at(1, provider="p", model=model, org="acme", operation=operation)

    assert at("m", "draw") == price(10)
    assert at("new", "draw") == price(70)
    assert at("new", "talk") is None
    assert effective(book, 0, model="new", operation="draw") == 70
