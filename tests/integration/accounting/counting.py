"""Admission's counters beside accounting's books, in one database."""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import grpc
from pydantic import SecretStr

from chassis.database import Connection
from headgate.api.accounting.v1 import accounting_pb2 as pb
from services.admission.config import AdmissionSettings
from services.admission.domain.calls import CallKey, Candidate, Held, Reserve
from services.admission.engine import Engine, open_engine
from services.admission.feed import SettlementFeed
from tests.integration.accounting.replicas import Stub
from tests.schemas import runtime_url

# What every call holds at first; none of them costs this.
HELD_NANOS = 1_000_000
# Each call counts on the day of its org once.
COUNTED = (
    "SELECT sum(settled)::bigint AS settled, sum(held)::bigint AS held FROM admission.counter"
    " WHERE metric = 2 AND period = 1 AND org <> ''"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counting:
    """Holds calls, and follows what accounting books of them."""

    engine: Engine
    # Whichever server of accounting answers now.
    pick: Callable[[], Stub]

    async def hold(self, reports: Sequence[pb.UsageReport]) -> None:
        """Admits every call."""
        candidate = Candidate("openai", "gpt-4o-mini", HELD_NANOS, 1)
        outcomes = await self.engine.reservations.submit_all(
            [
                Reserve(
                    key=CallKey(each.org, uuid.UUID(each.call_id)),
                    fingerprint=b"f" * 32,
                    operation=each.operation,
                    candidates=(candidate,),
                    hold_duration=dt.timedelta(hours=1),
                    price_version=1,
                )
                for each in reports
            ]
        )
        assert all(isinstance(each, Held) for each in outcomes)

    async def pull(self) -> None:
        """Applies what is booked by now. Raises AioRpcError."""
        reader = self.engine.reservations
        await SettlementFeed(
            pool=self.engine.pool,
            list_settlements=self.pick().ListSettlements,
            reservations=reader,
            reader="test",
        ).pull()

    async def follow(self) -> None:
        """Does so until cancelled, whoever is killed."""
        while True:
            with suppress(grpc.aio.AioRpcError):
                await self.pull()
            await asyncio.sleep(0.05)


@asynccontextmanager
async def counting(
    database_url: str, token: str, pick: Callable[[], Stub]
) -> AsyncIterator[Counting]:
    """Opens an admission on the database of the books."""
    settings = AdmissionSettings(
        database_url=SecretStr(runtime_url(database_url, "admission")),
        service_token=SecretStr(token),
        accounting_addresses=("127.0.0.1:1",),
    )
    async with open_engine(settings, name="admission-test") as engine:
        yield Counting(engine=engine, pick=pick)


async def read_counters(admin: Connection) -> tuple[int, int]:
    """What the counters of all orgs have settled, and hold yet."""
    row = await admin.fetchrow(COUNTED)
    assert row is not None
    return row["settled"], row["held"]
