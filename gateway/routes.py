"""The gateway's copy of the routes, operation to candidates, and of the templates they name."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

import structlog

from chassis.errors import NotFound, ServiceError, translate
from gateway.domain.calls import Route
from gateway.domain.templates import Template
from gateway.store import Store
from gateway.template_store import list_all_templates

# The poll behind the notifications: how late a changed route binds when they are lost.
POLL_SECONDS: Final = 0.5

log = structlog.get_logger()


class Routes:
    """Keeps the last routes that were read; a poll that fails changes nothing."""

    def __init__(self, store: Store) -> None:
        self._store = store
        # Set by whoever hears that something changed: the next poll is due at once.
        self.woken = asyncio.Event()
        self._version = 0
        self._routes: Mapping[str, Route] = {}
        self._templates: Mapping[str, Template] = {}

    def find(self, operation: str) -> Route:
        """Returns the route of an operation. Raises NotFound."""
        route = self._routes.get(operation)
        if route is None:
            raise NotFound("operation", operation)
        return route

    def find_template(self, template_id: str) -> Template | None:
        """Returns a template, if there is one."""
        return self._templates.get(template_id)

    def all(self) -> list[Route]:
        """Returns every route in order of their operations."""
        return [self._routes[operation] for operation in sorted(self._routes)]

    async def refresh(self) -> None:
        """Reads routes and templates again if their version changed."""
        if self._version and await self._store.fetch_route_version() == self._version:
            return
        book = await self._store.list_all_routes()
        # Later than the routes and their version: newer ones come once more with the next poll.
        self._templates = await list_all_templates(self._store)
        self._routes = {route.operation: route for route in book.routes}
        self._version = book.version

    async def keep_fresh(self, *, interval_seconds: float = POLL_SECONDS) -> None:
        """Polls until cancelled."""
        failing = False
        while True:
            self.woken.clear()
            try:
                await self._refresh_or_fail()
                failing = False
            except ServiceError as error:
                if not failing:
                    log.warning("routes_not_refreshed", reason=error.reason)
                failing = True
            with suppress(TimeoutError):
                async with asyncio.timeout(interval_seconds):
                    await self.woken.wait()

    async def check_ready(self) -> None:
        """Raises RuntimeError until the routes were read once; there may be none."""
        if not self._version:
            raise RuntimeError("no routes yet")

    async def _refresh_or_fail(self) -> None:
        try:
            await self.refresh()
        except Exception as error:
            raise translate(error) from error
