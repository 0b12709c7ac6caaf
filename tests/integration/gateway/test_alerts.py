"""Staff see alerts and set channels through the gateway, each as far as their role reaches."""

from __future__ import annotations

from typing import Any

import asyncpg
import grpc
import pytest

from headgate.api.common.v1 import alert_pb2, channel_pb2
from headgate.api.gateway.v1 import admin_pb2, alert_admin_pb2, channel_admin_pb2
from headgate.api.gateway.v1.alert_admin_pb2_grpc import AlertAdminServiceStub
from headgate.api.gateway.v1.channel_admin_pb2_grpc import ChannelAdminServiceStub
from tests.integration.accounting.noticing import condition, tell
from tests.integration.accounting.receivers import receiving
from tests.integration.gateway.system import ADMIN_KEY, Keyed, System, refusal

WEBHOOK = channel_pb2.CHANNEL_KIND_WEBHOOK


def alerts(system: System, key: str = ADMIN_KEY) -> Keyed:
    return Keyed(AlertAdminServiceStub(system.channel()), key)


def channels(system: System, key: str = ADMIN_KEY) -> Keyed:
    return Keyed(ChannelAdminServiceStub(system.channel()), key)


async def notice(system: System, org: str) -> int:
    """Raises an alert; returns its number."""
    connection = await asyncpg.connect(
        system.url, server_settings={"search_path": "accounting", "timezone": "UTC"}
    )
    try:
        await tell(connection, condition(f"key-{org}", org=org))
        number: int = await connection.fetchval("SELECT max(alert_id) FROM alert")
        return number
    finally:
        await connection.close()


async def editor_of(system: System, org: str) -> str:
    """The key of somebody who edits what is an org's."""
    made = await system.staff().CreateApiKey(
        admin_pb2.CreateApiKeyRequest(name="x", role=admin_pb2.ROLE_EDITOR, orgs=[org])
    )
    secret: str = made.secret
    return secret


async def test_an_alert_is_taken_on_and_the_audit_log_says_by_whom(system: System) -> None:
    number = await notice(system, "acme")
    request = alert_admin_pb2.AcknowledgeAlertRequest(alert_id=number, note="mine")
    taken = (await alerts(system).AcknowledgeAlert(request)).alert

    assert taken.state == alert_pb2.ALERT_STATE_ACKNOWLEDGED
    entries = (await system.staff().ListAuditEntries(admin_pb2.ListAuditEntriesRequest())).entries
    assert (entries[0].action, entries[0].target) == ("AcknowledgeAlert", f"alert/{number}")
    assert entries[0].actor == taken.acknowledged_by
    assert entries[0].state == admin_pb2.AUDIT_STATE_DONE


async def test_who_edits_for_an_org_sees_and_changes_what_is_its_own(system: System) -> None:
    own, other = await notice(system, "acme"), await notice(system, "globex")
    key = await editor_of(system, "acme")
    mine = alerts(system, key)
    listed = await mine.ListAlerts(alert_admin_pb2.ListAlertsRequest(org="acme"))

    assert [each.alert_id for each in listed.alerts] == [own]
    for request in (
        alert_admin_pb2.ListAlertsRequest(),
        alert_admin_pb2.ListAlertsRequest(org=""),
        alert_admin_pb2.ListAlertsRequest(org="globex"),
    ):
        assert (await refusal(mine.ListAlerts(request))).code == "PERMISSION_DENIED"
    resolve = alert_admin_pb2.ResolveAlertRequest
    stranger = await refusal(mine.ResolveAlert(resolve(alert_id=other, org="acme")))
    assert stranger.reason == "ALERT_NOT_FOUND"
    assert (await mine.ResolveAlert(resolve(alert_id=own, org="acme"))).alert.alert_id == own


@pytest.mark.parametrize("org", ["", "globex"])
async def test_who_edits_for_an_org_sets_no_channel_of_others(system: System, org: str) -> None:
    mine = channels(system, await editor_of(system, "acme"))
    channel = channel_pb2.Channel(channel_id="x", kind=WEBHOOK, url="https://example.com/")
    request = channel_admin_pb2.PutChannelRequest(channel=channel, org=org)

    assert (await refusal(mine.PutChannel(request))).code == "PERMISSION_DENIED"
    # The org that counts is the one that was checked.
    request.org, request.channel.org = "acme", org
    assert (await mine.PutChannel(request)).channel.org == "acme"


async def test_a_channel_is_set_and_tried_and_the_audit_log_keeps_no_secret(
    system: System,
) -> None:
    async with receiving() as receiver:
        staff = channels(system)
        channel = channel_pb2.Channel(channel_id="oncall", kind=WEBHOOK, url=receiver.url)
        put = channel_admin_pb2.PutChannelRequest(channel=channel)
        made = await staff.PutChannel(put)
        tried = await staff.TestChannel(channel_admin_pb2.TestChannelRequest(channel_id="oncall"))

        assert tried.delivery.state == channel_pb2.DELIVERY_STATE_DELIVERED
        (post,) = receiver.posts
        assert post.is_signed_by(made.secret)
        kept: Any = await system.fetch("gateway", "SELECT * FROM audit_entry")
        assert "s3cret" not in str(kept)
        assert "whsec" not in str(kept)


async def test_without_accounting_nobody_learns_of_alerts_and_is_told_so(system: System) -> None:
    await system.stop("accounting")
    rpc = alerts(system).ListAlerts(alert_admin_pb2.ListAlertsRequest(), timeout=2.0)

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await rpc
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
