"""Sets of prices and channels, each written in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chassis.checks import Checks
from chassis.database import Pool, changing
from services.accounting.delivery.channels import Channel, Key
from services.accounting.delivery.desk import Desk
from services.accounting.overrides import Override, PriceKey, change_overrides
from services.accounting.prices import Prices


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A set to write, whole."""

    overrides: Sequence[Override]
    ended: Sequence[PriceKey]
    # Each with its URL; empty: as it was.
    channels: Sequence[tuple[Channel, str]]
    deleted: Sequence[Key]


class Policies:
    """Writes sets of prices and channels, each in one transaction."""

    def __init__(self, *, pool: Pool, prices: Prices, desk: Desk) -> None:
        self._pool = pool
        self._prices = prices
        self._desk = desk

    async def apply(
        self, wanted: Wanted, *, audit_id: str, keep: bool
    ) -> tuple[int, list[tuple[Key, str]]]:
        """Returns the book's version and new webhooks' secrets. Raises InvalidArgument.

        Unless `keep`, nothing is changed.
        """
        await self._check_urls(wanted.channels)
        secrets: list[tuple[Key, str]] = []
        async with changing(self._pool, keep=keep) as connection:
            version, _ = await change_overrides(
                connection, wanted.overrides, deleted=wanted.ended, audit_id=audit_id
            )
            for key in wanted.deleted:
                await self._desk.channels.delete_on(connection, key, audit_id=audit_id)
            for channel, url in wanted.channels:
                _, secret = await self._desk.channels.put_on(
                    connection, channel, url, audit_id=audit_id
                )
                if secret and keep:
                    secrets.append((Key(org=channel.org, channel_id=channel.channel_id), secret))
        if keep:
            await self._prices.refresh()
        return version, secrets

    async def _check_urls(self, channels: Sequence[tuple[Channel, str]]) -> None:
        checks = Checks()
        for place, (channel, url) in enumerate(channels):
            problem = await self._desk.check_url(channel, url)
            if problem is not None:
                checks.violate(f"channels[{place}].url", problem)
        checks.raise_if_any()
