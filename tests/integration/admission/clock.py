"""The database's clock, set by the test."""

from __future__ import annotations

import datetime as dt

import pytest

from chassis.database import Connection
from services.admission import engine as engine_module


class Clock:
    """A function that hides the built-in one, for engines opened after it was made."""

    def __init__(self, admin: Connection) -> None:
        self._admin = admin

    @classmethod
    async def install(
        cls, admin: Connection, monkeypatch: pytest.MonkeyPatch, now: dt.datetime
    ) -> Clock:
        """Makes the clock of this database stand at `now`."""
        # Named first, our schema hides what the catalog has under the same name.
        monkeypatch.setattr(engine_module, "SCHEMA", "admission, pg_catalog")
        clock = cls(admin)
        await clock.set(now)
        return clock

    async def set(self, now: dt.datetime) -> None:
        """Moves the clock, in either direction; it stands still there."""
        await self._admin.execute(
            "CREATE OR REPLACE FUNCTION admission.clock_timestamp() RETURNS timestamptz"
            f" LANGUAGE sql AS $$SELECT '{now.isoformat()}'::timestamptz$$;"
            "GRANT EXECUTE ON FUNCTION admission.clock_timestamp() TO PUBLIC"
        )
