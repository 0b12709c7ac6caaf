"""Orgs in the gateway's schema. Each function runs the query of its name, or says another."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import asyncpg

from gateway.domain.orgs import Org
from gateway.store import Store, Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class OrgVersion:
    """An org as it is stored."""

    org: Org
    version: int
    create_time: dt.datetime
    update_time: dt.datetime
    updater: str


async def list_all_orgs(store: Store) -> Mapping[str, Org]:
    """Returns every org by its name."""
    return {row["org"]: _read_org(row) for row in await store.rows("list_all_orgs")}


async def list_orgs(
    store: Store, *, after: str, count_max: int, only: Sequence[str] | None
) -> list[OrgVersion]:
    """Returns orgs in order of their names; only those named, unless None."""
    return [_read(row) for row in await store.rows("list_orgs", after, count_max, only)]


async def fetch_org(store: Store | Transaction, org: str) -> OrgVersion | None:
    """Returns an org."""
    row = await store.row("fetch_org", org)
    return None if row is None else _read(row)


async def begin_change(on: Transaction, org: str) -> OrgVersion | None:
    """Queues behind other changes of what gateways copy; runs `lock_route_book`, `fetch_org`."""
    await on.value("lock_route_book")
    return await fetch_org(on, org)


async def put_org(on: Transaction, org: Org, updater: str) -> OrgVersion:
    """Creates or replaces an org; runs `bump_route_version` too: gateways copy both."""
    row = await on.one(
        "put_org",
        *(org.org, org.display_name, org.time_zone, org.owner, list(org.contacts)),
        *(org.cost_centre, org.discount_basis_points, org.suspended, org.suspend_reason),
        updater,
    )
    await on.value("bump_route_version")
    return _read(row)


def _read_org(row: asyncpg.Record) -> Org:
    return Org(
        org=row["org"],
        display_name=row["display_name"],
        time_zone=row["time_zone"],
        owner=row["owner"],
        contacts=tuple(row["contacts"]),
        cost_centre=row["cost_centre"],
        discount_basis_points=row["discount_basis_points"],
        suspended=row["suspended"],
        suspend_reason=row["suspend_reason"],
    )


def _read(row: asyncpg.Record) -> OrgVersion:
    return OrgVersion(
        org=_read_org(row),
        version=row["version"],
        create_time=row["create_time"],
        update_time=row["update_time"],
        updater=row["updater"],
    )
