"""The price book: which price binds for a model, an org and a version.

Versions count changes of the book. A price binds from one version, inclusive, to another,
exclusive, and is never changed: so a call admitted at a version is priced exactly as it was
estimated. An org's override wins over the platform's, an override over the catalogue.
"""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from services.accounting.domain.pricing import Price


class PriceSource(enum.StrEnum):
    """Where a price comes from."""

    CATALOGUE = "catalogue"
    OVERRIDE = "override"


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceEntry:
    """One price of one model, with the versions in which it binds."""

    price_id: int
    provider: str
    model: str
    # The org that an override is for. Empty: the platform.
    org: str
    source: PriceSource
    price: Price
    since_version: int
    # First version in which it no longer binds. None: it is in force.
    until_version: int | None
    # When it took effect, by the database's clock.
    start_time: dt.datetime
    # When it ended. None: it is in force.
    end_time: dt.datetime | None = None
    # The operation whose unpriced models it prices, flat. Empty: it is a model's.
    operation: str = ""
    # From when on the past is priced by it again, if somebody asks for that. None: from its start.
    effective_time: dt.datetime | None = None

    def binds_at(self, version: int) -> bool:
        """Whether the price is in force in this version."""
        return self.since_version <= version and (
            self.until_version is None or version < self.until_version
        )

    def was_effective(self, instant: dt.datetime) -> bool:
        """Whether it is what calls admitted at an instant cost, as far as it knows."""
        return (self.effective_time or self.start_time) <= instant and (
            self.end_time is None or instant < self.end_time
        )

    @property
    def rank(self) -> tuple[bool, bool]:
        """Of several that bind, the greatest rank wins."""
        return (self.org != "", self.source is PriceSource.OVERRIDE)


# Provider, model and operation: either the first two are empty, or the last.
_Key: TypeAlias = tuple[str, str, str]


class PriceBook:
    """All prices that a report may still need, at one version. Immutable."""

    __slots__ = ("_entries", "version")

    def __init__(
        self,
        version: int = 0,
        entries: Mapping[_Key, tuple[PriceEntry, ...]] | None = None,
    ) -> None:
        self.version = version
        self._entries = entries or {}

    def merge(self, version: int, entries: Iterable[PriceEntry]) -> PriceBook:
        """Returns the book at `version`, in which `entries` were added or ended."""
        merged = dict(self._entries)
        for entry in entries:
            key = (entry.provider, entry.model, entry.operation)
            others = tuple(e for e in merged.get(key, ()) if e.price_id != entry.price_id)
            merged[key] = (*others, entry)
        return PriceBook(version, merged)

    def price_at(
        self, version: int, *, provider: str, model: str, org: str, operation: str = ""
    ) -> Price | None:
        """Returns the price that binds for an org's call in a version, or None: unpriced.

        The flat price of its operation binds if its model has none.
        """
        for key in ((provider, model, ""), ("", "", operation)):
            winner: PriceEntry | None = None
            for entry in self._entries.get(key, ()):
                if entry.org not in ("", org) or not entry.binds_at(version):
                    continue
                if winner is None or entry.rank > winner.rank:
                    winner = entry
            if winner is not None:
                return winner.price
        return None

    def price_effective(
        self, instant: dt.datetime, *, provider: str, model: str, org: str, operation: str = ""
    ) -> Price | None:
        """Returns the price that was effective at an instant, as the book sees it now.

        Of several of one rank the one that was written last wins: it corrects the others.
        """
        for key in ((provider, model, ""), ("", "", operation)):
            winners = [
                entry
                for entry in self._entries.get(key, ())
                if entry.org in ("", org) and entry.was_effective(instant)
            ]
            if winners:
                return max(winners, key=lambda entry: (entry.rank, entry.since_version)).price
        return None

    def in_force(self) -> Iterator[PriceEntry]:
        """Yields the newest version's prices: at most one per provider, model and org."""
        for entries in self._entries.values():
            winners: dict[str, PriceEntry] = {}
            for entry in entries:
                rival = winners.get(entry.org)
                if entry.binds_at(self.version) and (rival is None or entry.rank > rival.rank):
                    winners[entry.org] = entry
            yield from winners.values()


@dataclass(frozen=True, slots=True, kw_only=True)
class CataloguePrice:
    """A model's price as the catalogue has it now."""

    provider: str
    model: str
    price: Price


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueChange:
    """What an import has to write."""

    # Prices of models that are new or changed.
    written: tuple[CataloguePrice, ...]
    # Among them, those that replace an earlier price.
    replaced_count: int
    unchanged_count: int
    # Models that the catalogue no longer has, or has a bad price for: they keep their last one.
    kept_count: int


def compare_catalogue(
    stored: Mapping[tuple[str, str], Price], offered: Iterable[CataloguePrice]
) -> CatalogueChange:
    """Returns which of the offered prices differ from the stored ones. Ends none."""
    written: list[CataloguePrice] = []
    replaced = unchanged = 0
    for candidate in offered:
        known = stored.get((candidate.provider, candidate.model))
        if known == candidate.price:
            unchanged += 1
            continue
        replaced += known is not None
        written.append(candidate)
    return CatalogueChange(
        written=tuple(written),
        replaced_count=replaced,
        unchanged_count=unchanged,
        kept_count=len(stored) - replaced - unchanged,
    )
