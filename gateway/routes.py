"""The gateway's copy of the routes, operation to candidates, of their templates, and of orgs.

A change of a route is acknowledged when no gateway decides by an older copy any more. For that
every gateway keeps a row that says which version it has; whoever changes a route waits for the
rows of all that were heard of within the lease, and the others look before they decide again.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import structlog

from chassis.errors import NotFound, ServiceError, translate
from chassis.looking import keep_looking
from gateway.domain.calls import Route
from gateway.domain.orgs import Org
from gateway.domain.templates import Template
from gateway.route_store import RouteStore

# The poll behind the notifications.
POLL_SECONDS: Final = 0.5
# A copy is good for so long after it was found to be the newest: whoever changes a route waits no
# longer for a gateway, and a little more, for a clock that runs slow.
LEASE_SECONDS: Final = 2.0
MARGIN_SECONDS: Final = 0.2
# How often whoever changed a route looks whether all have it.
LOOK_SECONDS: Final = 0.02
# How long a call waits for routes that may be old; then it takes them as they are.
LOOK_AGAIN_SECONDS: Final = 1.0

log = structlog.get_logger()


async def _nothing() -> None:
    return None


class Routes:
    """Keeps the last routes that were read; a poll that fails changes nothing."""

    def __init__(
        self, store: RouteStore, *, prepare: Callable[[], Awaitable[object]] = _nothing
    ) -> None:
        """`prepare` runs before new routes are taken: what they need must be here by then."""
        self._store = store
        self._prepare = prepare
        # Set by whoever hears that something changed: the next poll is due at once.
        self.woken = asyncio.Event()
        self._reader_id = uuid.uuid4()
        self._refreshing = asyncio.Lock()
        self._looking: asyncio.Task[None] | None = None
        self._left = False
        self._version = 0
        self._routes: Mapping[str, Route] = {}
        self._templates: Mapping[str, Template] = {}
        self._orgs: Mapping[str, Org] = {}
        # Until then, by the event loop's clock, nobody was told that an older copy is gone.
        self._good_until = 0.0

    def find(self, operation: str) -> Route:
        """Returns the route of an operation. Raises NotFound."""
        route = self._routes.get(operation)
        if route is None:
            raise NotFound("operation", operation)
        return route

    def find_template(self, template_id: str) -> Template | None:
        """Returns a template, if there is one."""
        return self._templates.get(template_id)

    def find_org(self, org: str) -> Org | None:
        """Returns what is known of an org, if it is registered."""
        return self._orgs.get(org)

    def all(self) -> list[Route]:
        """Returns every route in order of their operations."""
        return [self._routes[operation] for operation in sorted(self._routes)]

    def may_be_old(self) -> bool:
        """Tells whether somebody may have changed a route without waiting for this gateway."""
        return asyncio.get_running_loop().time() > self._good_until

    async def look_again(self) -> None:
        """Reads the routes now if they changed. If the database does not answer soon, they stay as
        they are: calls go on.
        """
        if self._looking is None:
            self._looking = asyncio.create_task(self._look_again())
        await asyncio.shield(self._looking)

    async def refresh(self) -> None:
        """Reads routes and templates again if their version changed."""
        async with self._refreshing:
            while True:
                asked = asyncio.get_running_loop().time()
                # First the row, then the version: a change that did not see the row is seen here.
                if not self._left:
                    await self._store.renew_reader(self._reader_id, self._version)
                newest = await self._store.fetch_route_version()
                if newest == self._version:
                    self._good_until = max(self._good_until, asked + LEASE_SECONDS)
                    return
                book = await self._store.list_all_routes()
                # Later than the routes: if they are newer, so is the version, and all comes again.
                self._templates = await self._store.list_all_templates()
                self._orgs = await self._store.list_all_orgs()
                await self._prepare()
                self._routes = {route.operation: route for route in book.routes}
                self._version = book.version

    async def spread(self) -> None:
        """Returns when no gateway decides by routes older than they are now."""
        version = await self._store.fetch_route_version()
        self.woken.set()
        heard = LEASE_SECONDS + MARGIN_SECONDS
        # Gateways tell only the database how far they are.
        while await self._store.count_old_readers(  # noqa: ASYNC110
            version, heard_seconds=heard
        ):
            await asyncio.sleep(LOOK_SECONDS)

    async def leave(self) -> None:
        """Lets nobody wait for this gateway, which takes no more calls."""
        self._left = True
        try:
            await self._store.remove_reader(self._reader_id)
        except Exception as error:  # noqa: BLE001 - its lease ends by itself
            log.warning("route_reader_not_removed", reason=translate(error).reason)

    async def keep_fresh(self, *, interval_seconds: float = POLL_SECONDS) -> None:
        """Polls until cancelled."""
        await keep_looking(
            self.refresh,
            pause=lambda: interval_seconds,
            failed="routes_not_refreshed",
            woken=self.woken,
        )

    async def check_ready(self) -> None:
        """Raises RuntimeError until the routes were read once; there may be none."""
        if not self._version:
            raise RuntimeError("no routes yet")

    async def _refresh_or_fail(self) -> None:
        try:
            await self.refresh()
        except Exception as error:
            raise translate(error) from error

    async def _look_again(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(LOOK_AGAIN_SECONDS):
                await self._refresh_or_fail()
        except (ServiceError, TimeoutError):
            # The poll says so; until it is due, nobody else waits for the database.
            self._good_until = loop.time() + POLL_SECONDS
        finally:
            self._looking = None
