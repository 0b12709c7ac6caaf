"""One alert for a condition, whoever notices it; staff take it on, end it, and mute it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import grpc
import pytest
import pytest_asyncio
from google.protobuf.duration_pb2 import Duration

from chassis.database import Connection, Pool, open_pool
from headgate.api.accounting.v1 import alerts_pb2 as pb
from headgate.api.accounting.v1 import alerts_pb2_grpc as pb_grpc
from headgate.api.common.v1 import alert_pb2, event_pb2
from headgate.failures import parse_failure
from services.accounting.alerts.register import (
    list_active_keys,
    resolve_condition,
    resolve_expired,
)
from services.accounting.domain.alerts import AlertAction
from services.accounting.domain.event_types import Severity
from tests.integration.accounting.noticing import ALERTS, EVENTS, condition, tell
from tests.integration.accounting.replicas import OpenConnection
from tests.schemas import runtime_url

Stub: TypeAlias = "pb_grpc.AlertServiceAsyncStub"

REPLICAS = 16
# No value of any enum.
UNKNOWN: Any = 99
WHO = {"actor": "k_ann", "audit_id": "a1"}


@pytest_asyncio.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    """Connections of the server's own role, one for each of many replicas."""
    url = runtime_url(database_url, "accounting")
    opened = await open_pool(url, application_name="t", schema="accounting", size=REPLICAS)
    async with opened:
        yield opened


@pytest.fixture
def alerts(channel: grpc.aio.Channel) -> Stub:
    return pb_grpc.AlertServiceStub(channel)


@pytest.mark.parametrize("once", [True, False])
async def test_of_16_replicas_that_notice_it_one_raises_it(
    pool: Pool, admin: Connection, once: bool
) -> None:
    wanted = condition(once=once)
    actions = await asyncio.gather(*(tell(pool, wanted) for _ in range(REPLICAS)))

    assert sorted(actions, key=str) == [AlertAction.RAISED] + [None] * (REPLICAS - 1)
    (alert,) = await admin.fetch(ALERTS)
    (event,) = await admin.fetch(EVENTS)
    assert alert["occurrence_count"] == REPLICAS
    assert event["alert_id"] == alert["alert_id"]


async def test_whoever_rolls_back_has_raised_nothing(
    connect: OpenConnection, admin: Connection
) -> None:
    first, second = await connect(), await connect()
    transaction = first.transaction()
    await transaction.start()
    await tell(first, condition())
    waiting = asyncio.create_task(tell(second, condition()))
    await transaction.rollback()

    assert await waiting is AlertAction.RAISED
    assert len(await admin.fetch(EVENTS)) == 1


async def test_a_condition_that_comes_back_is_a_new_alert_unless_it_is_raised_once(
    admin: Connection,
) -> None:
    for once in (False, True):
        wanted = condition(f"once={once}", once=once)
        assert await tell(admin, wanted) is AlertAction.RAISED
        assert await resolve_condition(admin, wanted.key)
        assert not await resolve_condition(admin, wanted.key)
        assert await tell(admin, wanted) is (None if once else AlertAction.RAISED)

    assert await list_active_keys(admin, "once=") == {"once=False"}


async def test_a_condition_that_lasts_is_told_again_after_an_hour_or_when_it_gets_worse(
    admin: Connection,
) -> None:
    await tell(admin, condition())
    assert await tell(admin, condition()) is None
    worse = condition(severity=Severity.CRITICAL)
    assert await tell(admin, worse) is AlertAction.ESCALATED
    assert await tell(admin, condition()) is None
    await admin.execute("UPDATE alert SET notify_time = notify_time - interval '61 minutes'")
    assert await tell(admin, condition()) is AlertAction.REPEATED

    (alert,) = await admin.fetch(ALERTS)
    assert alert["severity"] == Severity.CRITICAL
    assert alert["occurrence_count"] == 5
    assert [row["severity"] for row in await admin.fetch(EVENTS)] == [2, 3, 2]


async def test_what_is_over_by_time_resolves_by_itself(admin: Connection) -> None:
    await tell(admin, condition("later"))
    await tell(admin, condition("over"))
    await admin.execute(
        "UPDATE alert SET expire_time = now() + CASE alert_key WHEN 'over' "
        "THEN interval '-1 second' ELSE interval '1 hour' END"
    )

    assert await resolve_expired(admin) == 1
    assert await resolve_expired(admin) == 0
    assert await list_active_keys(admin, "") == {"later"}


async def test_staff_take_an_alert_on_and_end_it(alerts: Stub, admin: Connection) -> None:
    await tell(admin, condition())
    (alert,) = (await alerts.ListAlerts(pb.ListAlertsRequest())).alerts
    number = alert.alert_id
    take = pb.AcknowledgeAlertRequest(alert_id=number, note="mine", **WHO)
    for _ in range(2):
        taken = (await alerts.AcknowledgeAlert(take)).alert
        assert taken.state == alert_pb2.ALERT_STATE_ACKNOWLEDGED
        assert taken.acknowledged_by == "k_ann"
    end = pb.ResolveAlertRequest(alert_id=number, actor="k_bob", audit_id="a2")
    for _ in range(2):
        ended = (await alerts.ResolveAlert(end)).alert
        assert (ended.state, ended.resolved_by) == (alert_pb2.ALERT_STATE_RESOLVED, "k_bob")
    # The first answer was lost: its repetition is no news.
    assert (await alerts.AcknowledgeAlert(take)).alert == ended

    history = await alerts.GetAlert(pb.GetAlertRequest(alert_id=number))
    assert [(each.action, each.actor, each.note) for each in history.changes] == [
        (alert_pb2.ALERT_ACTION_RAISED, "", ""),
        (alert_pb2.ALERT_ACTION_ACKNOWLEDGED, "k_ann", "mine"),
        (alert_pb2.ALERT_ACTION_RESOLVED, "k_bob", ""),
    ]
    assert not (await alerts.ListAlerts(pb.ListAlertsRequest())).alerts
    assert len((await alerts.ListAlerts(pb.ListAlertsRequest(resolved_too=True))).alerts) == 1


async def test_what_is_taken_on_is_told_again_only_when_it_gets_worse(
    alerts: Stub, admin: Connection
) -> None:
    await tell(admin, condition())
    number = await admin.fetchval("SELECT alert_id FROM alert")
    await alerts.AcknowledgeAlert(pb.AcknowledgeAlertRequest(alert_id=number, **WHO))
    await admin.execute("UPDATE alert SET notify_time = notify_time - interval '1 day'")

    assert await tell(admin, condition()) is None
    assert await tell(admin, condition(severity=Severity.CRITICAL)) is AlertAction.ESCALATED
    (alert,) = (await alerts.ListAlerts(pb.ListAlertsRequest())).alerts
    assert alert.state == alert_pb2.ALERT_STATE_OPEN


async def test_lists_are_filtered_and_whole_over_their_pages(
    alerts: Stub, admin: Connection
) -> None:
    for number in range(5):
        await tell(admin, condition(f"key-{number}", org="acme" if number % 2 else ""))
    await tell(admin, condition("grave", severity=Severity.CRITICAL))

    async def count(**fields: Any) -> int:
        return len((await alerts.ListAlerts(pb.ListAlertsRequest(**fields))).alerts)

    assert await count() == 6
    assert await count(org="acme") == 2
    assert await count(org="") == 4
    assert await count(severity_min=event_pb2.SEVERITY_CRITICAL) == 1
    assert await count(type="kill") == 6
    assert await count(type="kil") == 0
    assert await count(state=alert_pb2.ALERT_STATE_RESOLVED) == 0
    seen: list[int] = []
    request = pb.ListEventsRequest(page_size=4)
    while True:
        page = await alerts.ListEvents(request)
        seen += [each.alert_id for each in page.events]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert seen == [6, 5, 4, 3, 2, 1]


async def test_a_mute_keeps_events_from_channels_and_ends(alerts: Stub, admin: Connection) -> None:
    order = pb.CreateAlertMuteRequest(
        mute_id=str(uuid.uuid4()), type="kill", duration=Duration(seconds=60), reason="x", **WHO
    )
    first = await alerts.CreateAlertMute(order)
    assert (await alerts.CreateAlertMute(order)) == first
    await tell(admin, condition("muted"))
    assert [
        each.mute_id for each in (await alerts.ListAlertMutes(pb.ListAlertMutesRequest())).mutes
    ]
    await alerts.DeleteAlertMute(pb.DeleteAlertMuteRequest(mute_id=order.mute_id))
    await tell(admin, condition("heard"))

    assert [row["muted"] for row in await admin.fetch(EVENTS)] == [True, False]
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await alerts.DeleteAlertMute(pb.DeleteAlertMuteRequest(mute_id=order.mute_id))
    assert parse_failure(refused.value).reason == "MUTE_NOT_FOUND"


BAD: dict[str, tuple[str, Any, str]] = {
    "a number of no alert": ("GetAlert", pb.GetAlertRequest(alert_id=0), "alert_id"),
    "a negative page": ("ListAlerts", pb.ListAlertsRequest(page_size=-1), "page_size"),
    "a token of another list": ("ListEvents", pb.ListEventsRequest(page_token="AA"), "page_token"),
    "an unknown state": ("ListAlerts", pb.ListAlertsRequest(state=UNKNOWN), "state"),
    "an unknown severity": (
        "ListAlerts",
        pb.ListAlertsRequest(severity_min=UNKNOWN),
        "severity_min",
    ),
    "a hostile type": ("ListEvents", pb.ListEventsRequest(type="%'; --"), "type"),
    "a hostile org": ("ListEvents", pb.ListEventsRequest(org="a\x00b"), "org"),
    "nobody": (
        "ResolveAlert",
        pb.ResolveAlertRequest(alert_id=1, audit_id="a"),
        "actor",
    ),
    "a mute for ever": (
        "CreateAlertMute",
        pb.CreateAlertMuteRequest(
            mute_id=str(uuid.uuid4()), duration=Duration(seconds=10**12), reason="x", **WHO
        ),
        "duration.seconds",
    ),
    "a mute without an id": (
        "CreateAlertMute",
        pb.CreateAlertMuteRequest(duration=Duration(seconds=1), reason="x", **WHO),
        "mute_id",
    ),
}


@pytest.mark.parametrize("name", BAD)
async def test_bad_input_names_its_field_and_changes_nothing(
    alerts: Stub, admin: Connection, name: str
) -> None:
    method, request, field = BAD[name]
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await getattr(alerts, method)(request)

    failure = parse_failure(refused.value)
    assert failure.code == "INVALID_ARGUMENT"
    assert field in [each.field for each in failure.violations]
    assert await admin.fetchval("SELECT count(*) FROM alert_mute") == 0


@pytest.mark.parametrize("method", ["GetAlert", "AcknowledgeAlert", "ResolveAlert"])
async def test_what_is_not_there_is_said_so(alerts: Stub, method: str) -> None:
    fields: dict[str, Any] = {"alert_id": 7} | ({} if method == "GetAlert" else WHO)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await getattr(alerts, method)(getattr(pb, f"{method}Request")(**fields))

    assert parse_failure(refused.value).reason == "ALERT_NOT_FOUND"


@pytest.mark.parametrize("method", ["GetAlert", "AcknowledgeAlert", "ResolveAlert"])
async def test_who_names_an_org_finds_its_alerts_only(
    alerts: Stub, admin: Connection, method: str
) -> None:
    await tell(admin, condition(org="acme"))
    fields: dict[str, Any] = {"alert_id": 1} | ({} if method == "GetAlert" else WHO)
    request = getattr(pb, f"{method}Request")
    for org in ("globex", ""):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await getattr(alerts, method)(request(org=org, **fields))
        assert parse_failure(refused.value).reason == "ALERT_NOT_FOUND"
        assert await admin.fetchval("SELECT state FROM alert") == 1

    assert (await getattr(alerts, method)(request(org="acme", **fields))).alert.org == "acme"
