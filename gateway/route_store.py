"""The SQL of routes. Each function runs the query of its name, and says so where it does not."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import asyncpg

from gateway.domain.calls import Candidate, Route
from gateway.domain.orgs import Org
from gateway.domain.templates import Template
from gateway.org_store import list_all_orgs
from gateway.store import Store, Transaction
from gateway.template_store import list_all_templates

# Of a route that there is not.
NO_VERSION: Final = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteBook:
    """All routes at one version."""

    version: int
    routes: tuple[Route, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteVersion:
    """One version of a route."""

    route: Route
    version: int
    update_time: dt.datetime
    # Who wrote it.
    updater: str
    # Why. Empty: they did not say, or it was not asked for.
    reason: str = ""
    # True: this version is the deletion, and the route is what it was before.
    deleted: bool = False
    # The version that was written again. 0: this is no rollback.
    restored_version: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """Who writes a version, and why."""

    actor: str
    reason: str


class RouteStore:
    """Reads routes, each statement by itself on a pooled connection; keeps the list of readers."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def fetch_route_version(self) -> int:
        """Returns the version of the routes."""
        return int(await self._store.value("fetch_route_version"))

    async def list_all_routes(self) -> RouteBook:
        """Returns every route, in one snapshot with its version."""
        rows = await self._store.rows("list_all_routes")
        routes = tuple(_read_route(row) for row in rows if row["operation"] is not None)
        return RouteBook(version=rows[0]["book_version"], routes=routes)

    async def list_all_templates(self) -> Mapping[str, Template]:
        """Returns every template by its id, from `template_store`."""
        return await list_all_templates(self._store)

    async def list_all_orgs(self) -> Mapping[str, Org]:
        """Returns every registered org by its name, from `org_store`."""
        return await list_all_orgs(self._store)

    async def list_routes(self, *, after: str, count_max: int, tag: str) -> list[RouteVersion]:
        """Returns routes in order of their operations."""
        rows = await self._store.rows("list_routes", after, count_max, tag)
        return [_read_current(row) for row in rows]

    async def fetch_route(self, operation: str) -> RouteVersion | None:
        """Returns a route."""
        row = await self._store.row("fetch_route", operation)
        return None if row is None else _read_current(row)

    async def list_route_versions(
        self, operation: str, *, below: int, count_max: int
    ) -> list[RouteVersion]:
        """Returns what a route was, newest version first."""
        rows = await self._store.rows("list_route_versions", operation, below, count_max)
        return [_read_version(row) for row in rows]

    async def fetch_version(self, operation: str, version: int) -> RouteVersion | None:
        """Returns one version of a route, from `list_route_versions`."""
        found = await self.list_route_versions(operation, below=version + 1, count_max=1)
        return found[0] if found and found[0].version == version else None

    async def renew_reader(self, reader_id: uuid.UUID, version: int) -> None:
        """Notes that a gateway decides by a copy of this version now."""
        await self._store.value("renew_reader", reader_id, version)

    async def remove_reader(self, reader_id: uuid.UUID) -> None:
        """Forgets a gateway that takes no more calls."""
        await self._store.value("remove_reader", reader_id)

    async def count_old_readers(self, version: int, *, heard_seconds: float) -> int:
        """Returns how many gateways decide by a copy that is older."""
        return int(await self._store.value("count_old_readers", version, heard_seconds))


async def begin_change(on: Transaction, operation: str) -> RouteVersion | None:
    """Queues behind other changes of routes and returns the route as it is; runs
    `lock_route_book`, then `fetch_route`.
    """
    await on.value("lock_route_book")
    row = await on.row("fetch_route", operation)
    return None if row is None else _read_current(row)


async def put_route(
    on: Transaction, route: Route, writer: Writer, *, restored_version: int = 0
) -> RouteVersion:
    """Creates or replaces a route; runs `record_route_version` and `bump_route_version` too."""
    await on.value("put_route", *_write_route(route), writer.actor)
    row = await on.one(
        "record_route_version",
        *(route.operation, writer.actor, writer.reason, False, restored_version),
    )
    await on.value("bump_route_version")
    return _read_version(row)


async def delete_route(on: Transaction, operation: str, writer: Writer) -> None:
    """Deletes a route that there is; runs `record_route_version` and `bump_route_version` too."""
    await on.one("record_route_version", operation, writer.actor, writer.reason, True, NO_VERSION)
    await on.value("delete_route", operation)
    await on.value("bump_route_version")


def _read_route(row: asyncpg.Record) -> Route:
    pairs = zip(row["providers"], row["models"], strict=True)
    baseline = None
    if row["baseline_provider"]:
        baseline = Candidate(provider=row["baseline_provider"], model=row["baseline_model"])
    return Route(
        operation=row["operation"],
        candidates=tuple(Candidate(provider=provider, model=model) for provider, model in pairs),
        default_max_output_token_count=row["default_max_output_token_count"],
        fallback_text=row["fallback_text"],
        hold_seconds=row["hold_seconds"],
        weights=tuple(row["weights"]),
        fallback_template=row["fallback_template"],
        tags=tuple(row["tags"]),
        baseline=baseline,
        adaptive_percent=row["adaptive_percent"],
        approval_required=row["approval_required"],
        approval_threshold_nanos=row["approval_threshold_nanos"],
        coalesces=row["coalesces"],
    )


def _read_current(row: asyncpg.Record) -> RouteVersion:
    return RouteVersion(
        route=_read_route(row),
        version=row["version"],
        update_time=row["update_time"],
        updater=row["updater"],
    )


def _read_version(row: asyncpg.Record) -> RouteVersion:
    return RouteVersion(
        route=_read_route(row),
        version=row["version"],
        update_time=row["update_time"],
        updater=row["updater"],
        reason=row["reason"],
        deleted=row["deleted"],
        restored_version=row["restored_version"],
    )


def _write_route(route: Route) -> tuple[object, ...]:
    baseline = route.baseline
    return (
        route.operation,
        [candidate.provider for candidate in route.candidates],
        [candidate.model for candidate in route.candidates],
        route.default_max_output_token_count,
        route.fallback_text,
        route.hold_seconds,
        list(route.weights),
        route.fallback_template,
        list(route.tags),
        "" if baseline is None else baseline.provider,
        "" if baseline is None else baseline.model,
        route.adaptive_percent,
        route.approval_required,
        route.approval_threshold_nanos,
        route.coalesces,
    )
