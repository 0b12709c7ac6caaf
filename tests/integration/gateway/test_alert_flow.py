"""From a settled call to the people: a threshold is crossed, and who wants to know it does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from headgate.api.admission.v1.admission_pb2_grpc import AdmissionServiceStub
from headgate.api.common.v1 import channel_pb2, limit_pb2
from headgate.api.gateway.v1 import admin_pb2, channel_admin_pb2
from headgate.api.gateway.v1.channel_admin_pb2_grpc import ChannelAdminServiceStub
from services.accounting.alerts.crossings import CrossingFeed
from services.accounting.config import AccountingSettings
from services.accounting.connections import open_accounting_pool
from tests.integration.accounting.receivers import mailing, receiving
from tests.integration.gateway.system import (
    ADMIN_KEY,
    TOKEN,
    Keyed,
    System,
    eventually,
    inner_settings,
)
from tests.integration.gateway.traffic import admit, make_call, report


async def know_each_other(system: System) -> None:
    """Starts accounting again, now that its peers have addresses."""
    await system.stop("accounting")
    await system.start(
        "accounting",
        admission_addresses=system.addresses["admission"],
        health_addresses=system.addresses["health"],
    )


async def put_channel(system: System, name: str, kind: Any, url: str) -> None:
    channel = channel_pb2.Channel(channel_id=name, kind=kind, url=url, types=["cost"])
    stub = Keyed(ChannelAdminServiceStub(system.channel()), ADMIN_KEY)
    await stub.PutChannel(channel_admin_pb2.PutChannelRequest(channel=channel), timeout=30.0)


async def test_of_16_readers_that_race_one_raises_a_crossing_and_mail_and_webhook_get_it(
    system: System,
) -> None:
    await know_each_other(system)
    limit = limit_pb2.Limit(
        limit_id="acme-two", scope={"org": "acme"}, metric=limit_pb2.METRIC_CALLS, cap=2
    )
    limit.calendar.period = limit_pb2.CALENDAR_PERIOD_MONTH
    await system.staff().PutLimit(admin_pb2.PutLimitRequest(limit=limit))
    async with mailing() as mailbox, receiving() as receiver, readers(system, 15) as race:
        await put_channel(system, "mail", channel_pb2.CHANNEL_KIND_APPRISE, mailbox.url)
        await put_channel(system, "hook", channel_pb2.CHANNEL_KIND_WEBHOOK, receiver.url)
        backend = system.backend()
        for _ in range(2):
            await backend.CompleteCall(report(await admit(backend, make_call())))

        async def have_all() -> bool:
            await race()
            return len(receiver.posts) >= 3 and len(mailbox.mails) >= 3

        await eventually(have_all)
        await race()
        told = sorted(post.json["data"]["threshold_percent"] for post in receiver.posts)
        assert told == [50, 80, 100]
        assert {post.json["subject"] for post in receiver.posts} == {"limit/acme-two"}
        assert len(mailbox.mails) == 3
        rows = await system.fetch("accounting", "SELECT occurrence_count FROM alert")
        assert [row["occurrence_count"] for row in rows] == [1, 1, 1]


@asynccontextmanager
async def readers(system: System, count: int) -> AsyncIterator[Callable[[], Awaitable[object]]]:
    """More replicas' readers of the crossings, which read all at once when they are asked."""
    settings = inner_settings(AccountingSettings, system.url, "accounting")
    stub = AdmissionServiceStub(system.channel("admission"))
    metadata = (("authorization", f"Bearer {TOKEN}"),)

    async def list_crossings(request: Any, *, timeout: float) -> Any:
        return await stub.ListCrossings(request, timeout=timeout, metadata=metadata)

    async with open_accounting_pool(settings, name="tests") as pool:
        feeds = [CrossingFeed(pool, list_crossings) for _ in range(count)]
        yield lambda: asyncio.gather(*(feed.pull() for feed in feeds))
