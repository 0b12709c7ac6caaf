"""The gateway's copy of the price book, pulled from accounting."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Final

from chassis.errors import PeerUnavailable, ServiceError
from chassis.looking import keep_looking
from gateway.domain.books import FLAT, PriceBook
from gateway.domain.estimates import UNITS_PER_PRICE, Ceiling, Rate, Tier, ceiling
from gateway.peers import ACCOUNTING
from headgate.api.accounting.v1 import accounting_pb2
from headgate.api.common.v1 import price_pb2

PULL_SECONDS: Final = 2.0
# About a millisecond's work.
PRICES_AT_ONCE: Final = 100
_EMPTY: Final = PriceBook(version=0, platform={}, overrides={})
_INPUT_METERS: Final = frozenset(
    {
        price_pb2.METER_INPUT,
        price_pb2.METER_CACHE_READ,
        price_pb2.METER_CACHE_WRITE_5M,
        price_pb2.METER_CACHE_WRITE_1H,
        price_pb2.METER_AUDIO_INPUT,
        price_pb2.METER_AUDIO_CACHE_READ,
        price_pb2.METER_IMAGE_INPUT,
        price_pb2.METER_IMAGE_CACHE_READ,
    }
)
_OUTPUT_METERS: Final = frozenset(
    {
        price_pb2.METER_OUTPUT,
        price_pb2.METER_REASONING,
        price_pb2.METER_AUDIO_OUTPUT,
        price_pb2.METER_IMAGE_OUTPUT,
    }
)
# What is not tokens, by the names of the bounds that calls give.
_UNIT_METERS: Final = {
    price_pb2.METER_IMAGE: "image_count",
    price_pb2.METER_CHARACTER: "character_count",
    price_pb2.METER_AUDIO_MS: "audio_ms",
    price_pb2.METER_VIDEO_MS: "video_ms",
    price_pb2.METER_WEB_SEARCH: "web_search_count",
    price_pb2.METER_FILE_SEARCH: "file_search_count",
    price_pb2.METER_PAGE: "page_count",
    price_pb2.METER_CODE_SESSION: "code_session_count",
}

# Asks accounting for a version newer than the known one.
Pull = Callable[[int], Awaitable[accounting_pb2.GetPriceBookResponse]]


class Prices:
    """Keeps the last good price book; a pull that fails changes nothing."""

    def __init__(self, pull: Pull) -> None:
        self._pull = pull
        self.book = _EMPTY

    def current(self) -> PriceBook:
        """Returns the newest book. Raises PeerUnavailable before the first one came: without it
        nobody can tell a model without a price from one whose price is not known here yet.
        """
        if not self.book.version:
            raise PeerUnavailable(ACCOUNTING)
        return self.book

    async def refresh(self) -> None:
        """Pulls once. Raises ServiceError when accounting does not answer."""
        response = await self._pull(self.book.version)
        # Accounting may answer from a replica that is behind: versions only go up.
        if response.version > self.book.version and response.prices:
            self.book = await build_book(response.version, response.prices)

    async def try_refresh(self) -> None:
        """Pulls once, if accounting answers: for what may need the newest prices."""
        with suppress(ServiceError):
            await self.refresh()

    async def keep_fresh(self, *, interval_seconds: float = PULL_SECONDS) -> None:
        """Pulls until cancelled."""
        await keep_looking(
            self.refresh, pause=lambda: interval_seconds, failed="prices_not_refreshed"
        )

    async def check_ready(self) -> None:
        """Raises RuntimeError until a price book is there: without one every call is denied."""
        if not self.book.version:
            raise RuntimeError("no price book yet")


async def build_book(version: int, prices: Iterable[price_pb2.ModelPrice]) -> PriceBook:
    """Reduces prices to what bounds a call: the ceiling of each model. Lets calls pass meanwhile:
    there are thousands.
    """
    platform: dict[tuple[str, str], Ceiling] = {}
    overrides: dict[str, dict[tuple[str, str], Ceiling]] = {}
    for count, price in enumerate(prices, start=1):
        if not count % PRICES_AT_ONCE:
            await asyncio.sleep(0)
        bound = _ceiling(price)
        if bound is not None:
            book = overrides.setdefault(price.org, {}) if price.org else platform
            flat = (FLAT, price.operation)
            book[flat if price.operation else (price.provider, price.model)] = bound
    return PriceBook(version=version, platform=platform, overrides=overrides)


def _ceiling(price: price_pb2.ModelPrice) -> Ceiling | None:
    """Returns the ceiling, or None if there is no price at all."""
    inputs: list[Rate] = []
    outputs: list[Rate] = []
    units: dict[str, int] = {}
    call_nanos: int | None = None
    lists = [price.meters, *(variant.meters for variant in price.variants)]
    for meter in (each for meters in lists for each in meters):
        tiers = tuple(
            Tier(
                input_token_threshold=tier.input_token_threshold,
                nanos_per_million=tier.nanos_per_million,
            )
            for tier in meter.tiers
        )
        rate = Rate(nanos_per_million=meter.nanos_per_million, tiers=tiers)
        if meter.meter in _INPUT_METERS:
            inputs.append(rate)
        elif meter.meter in _OUTPUT_METERS:
            outputs.append(rate)
        elif meter.meter == price_pb2.METER_CALL:
            call_nanos = max(call_nanos or 0, -(-_dearest(rate) // UNITS_PER_PRICE))
        elif meter.meter in _UNIT_METERS:
            name = _UNIT_METERS[meter.meter]
            units[name] = max(units.get(name, 0), _dearest(rate))
    # A call that is priced at nothing is free, which is not unpriced.
    is_by_units = not inputs and not outputs and call_nanos is None
    if is_by_units and not units:
        return None
    return ceiling(
        input_rates=inputs,
        output_rates=outputs,
        call_nanos=call_nanos or 0,
        unit_nanos=units,
        is_by_units=is_by_units,
    )


def _dearest(rate: Rate) -> int:
    return max(rate.nanos_per_million, *(tier.nanos_per_million for tier in rate.tiers), 0)
