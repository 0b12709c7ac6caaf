"""All that health keeps in Postgres: breakers, permits to probe, kill switches, the version.

A decision is a function that the store calls between locking and writing, in one transaction.
"""

from __future__ import annotations

import datetime as dt
from typing import Final

from chassis.database import Pool
from services.health import circuit_rows, kill_rows
from services.health.circuit_store import CircuitStore
from services.health.domain.states import HealthState
from services.health.kill_store import KillStore
from services.health.toggle_store import ToggleStore, parse_toggles

SCHEMA: Final = "health"
# Tells watchers of every process that the version grew.
CHANNEL: Final = "headgate_health"


class Store(CircuitStore, KillStore, ToggleStore):
    """Runs health's queries on a pool of the runtime role. Raises what asyncpg raises."""

    @property
    def pool(self) -> Pool:
        """The pool, for whoever reads the log of changes."""
        return self._pool

    async def read_state(self) -> HealthState:
        """Reads everything in one snapshot."""
        async with (
            self._pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            head = await connection.fetchrow(self._sql["read_version"])
            circuits = await connection.fetch(self._sql["read_all_circuits"])
            kills = await connection.fetch(self._sql["read_kills"])
            toggles = await connection.fetch(self._sql["read_toggles"])
        if head is None:
            raise AssertionError("the version's row is made with the schema")
        return HealthState(
            version=head["version"],
            breakers=tuple(circuit_rows.parse_breaker(row) for row in circuits),
            kills=tuple(kill for row in kills if (kill := kill_rows.parse_kill(row)) is not None),
            toggles=tuple(parse_toggles(toggles).values()),
            figures=circuit_rows.parse_figures(circuits),
            now=head["now"],
        )

    async def read_version(self) -> tuple[int, dt.datetime]:
        """Reads the version of the state, and the clock. Cheap: watchers poll it."""
        async with self._pool.acquire() as connection:
            head = await connection.fetchrow(self._sql["read_version"])
        if head is None:
            raise AssertionError("the version's row is made with the schema")
        return head["version"], head["now"]
