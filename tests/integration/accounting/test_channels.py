"""Staff write channels and try them; what a channel keeps secret leaves in no answer."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any, TypeAlias

import grpc
import pytest
from pydantic import SecretStr

from chassis.database import Connection
from headgate.api.accounting.v1 import channels_pb2 as pb
from headgate.api.accounting.v1 import channels_pb2_grpc as pb_grpc
from headgate.api.common.v1 import channel_pb2, event_pb2
from headgate.failures import parse_failure
from services.accounting.config import AccountingSettings
from services.accounting.delivery.channels import Channels, Key
from services.accounting.delivery.vault import Vault, VaultError
from tests.integration.accounting.delivering import Office
from tests.integration.accounting.noticing import channel as wanted_channel
from tests.integration.accounting.noticing import condition
from tests.integration.accounting.receivers import Receiver
from tests.integration.accounting.replicas import serving

Stub: TypeAlias = "pb_grpc.ChannelServiceAsyncStub"

URL = "https://hooks.example.com/T00/s3cret"
APPRISE_URL = "slack://TokenA/TokenB/TokenC/ops"
# No value of any enum.
UNKNOWN: Any = 99
WEBHOOK = channel_pb2.CHANNEL_KIND_WEBHOOK


@pytest.fixture
def channels(channel: grpc.aio.Channel) -> Stub:
    return pb_grpc.ChannelServiceStub(channel)


def message(**changes: Any) -> channel_pb2.Channel:
    fields: dict[str, Any] = {"channel_id": "oncall", "kind": WEBHOOK, "url": URL}
    return channel_pb2.Channel(**fields | changes)


def put(audit_id: str = "a1", *, org: str = "", **changes: Any) -> pb.PutChannelRequest:
    return pb.PutChannelRequest(channel=message(**changes), org=org, audit_id=audit_id)


async def refusal_of(rpc: Any) -> Any:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await rpc
    return parse_failure(refused.value)


async def test_a_new_webhooks_secret_is_shown_once_and_stored_sealed(
    channels: Stub, admin: Connection
) -> None:
    made = await channels.PutChannel(put())
    changed = await channels.PutChannel(put("a2", url="", types=["cost"]))
    (listed,) = (await channels.ListChannels(pb.ListChannelsRequest())).channels

    assert made.secret.startswith("whsec_")
    assert changed.secret == ""
    assert made.channel.url == changed.channel.url == "https://hooks.example.com/***"
    assert listed == changed.channel
    assert list(listed.types) == ["cost"]
    stored = str(await admin.fetch("SELECT * FROM channel")) + str(
        await admin.fetch("SELECT * FROM channel_change")
    )
    assert "s3cret" not in stored
    assert made.secret not in stored


async def test_all_of_an_apprise_url_is_secret(channels: Stub, admin: Connection) -> None:
    kind = channel_pb2.CHANNEL_KIND_APPRISE
    made = await channels.PutChannel(put(kind=kind, url=APPRISE_URL))

    assert (made.channel.url, made.secret) == ("slack://***", "")
    assert "Token" not in str(await admin.fetch("SELECT * FROM channel"))


async def test_a_channel_is_changed_by_its_name_and_never_changes_its_kind(
    channels: Stub,
) -> None:
    await channels.PutChannel(put())
    await channels.PutChannel(put("a2", org="acme"))
    refused = await refusal_of(
        channels.PutChannel(put("a3", kind=channel_pb2.CHANNEL_KIND_APPRISE, url=APPRISE_URL))
    )
    every = (await channels.ListChannels(pb.ListChannelsRequest())).channels

    assert refused.reason == "CHANNEL_KIND_DIFFERS"
    assert [each.org for each in every] == ["", "acme"]
    page = await channels.ListChannels(pb.ListChannelsRequest(page_size=1))
    rest = await channels.ListChannels(
        pb.ListChannelsRequest(page_size=1, page_token=page.next_page_token)
    )
    assert [*page.channels, *rest.channels] == list(every)
    assert not rest.next_page_token
    only = await channels.ListChannels(pb.ListChannelsRequest(org="acme"))
    assert [each.org for each in only.channels] == ["acme"]


async def test_a_change_that_is_repeated_is_one_change(channels: Stub, admin: Connection) -> None:
    first = await channels.PutChannel(put())
    again = await channels.PutChannel(put())

    assert again.channel == first.channel
    assert again.secret == ""
    assert await admin.fetchval("SELECT count(*) FROM channel_change") == 1


async def test_after_a_rotation_both_secrets_sign_until_the_next(
    channels: Stub, office: Office, receiver: Receiver
) -> None:
    first = await office.put(wanted_channel(), receiver.url)
    rotate = pb.RotateChannelSecretRequest(channel_id="oncall", audit_id="a2")
    second = (await channels.RotateChannelSecret(rotate)).secret
    assert (await channels.RotateChannelSecret(rotate)).secret == ""
    await office.tell(condition("one"))
    await receiver.wait_for(1)
    rotate.audit_id = "a3"
    third = (await channels.RotateChannelSecret(rotate)).secret
    await office.tell(condition("two"))
    await receiver.wait_for(2)

    accepted = [
        [post.is_signed_by(secret) for secret in (first, second, third)]
        for post in receiver.posts[:2]
    ]
    assert accepted == [[True, True, False], [False, True, True]]


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (204, channel_pb2.DELIVERY_STATE_DELIVERED),
        (500, channel_pb2.DELIVERY_STATE_WAITING),
    ],
)
async def test_a_channel_can_be_tried_whatever_holds_it_back(
    channels: Stub, office: Office, receiver: Receiver, status: int, state: int
) -> None:
    await office.put(wanted_channel(paused=True), receiver.url)
    await office.put(wanted_channel("other"), receiver.url, audit_id="a2")
    receiver.status = status
    request = pb.TestChannelRequest(channel_id="oncall", actor="k_ann")
    delivery = (await channels.TestChannel(request)).delivery

    assert (delivery.state, delivery.type) == (state, "notification.test")
    (post,) = receiver.posts
    assert post.json["data"] == {"channel_id": "oncall", "actor": "k_ann"}
    listed = (await channels.ListDeliveries(pb.ListDeliveriesRequest())).deliveries
    assert [each.channel_id for each in listed] == ["oncall"]


async def test_deliveries_are_filtered_and_replayed(
    channels: Stub, office: Office, receiver: Receiver
) -> None:
    await office.put(wanted_channel(), receiver.url)
    await office.tell(condition())
    await receiver.wait_for(1)
    lists = pb.ListDeliveriesRequest(state=channel_pb2.DELIVERY_STATE_DELIVERED)
    async with asyncio.timeout(60):
        while not (  # noqa: ASYNC110 - nobody tells when a delivery is written down
            found := (await channels.ListDeliveries(lists)).deliveries
        ):
            await asyncio.sleep(0.02)
    replay = pb.ReplayDeliveriesRequest(channel_id="oncall")
    assert (await channels.ReplayDeliveries(replay)).replayed_count == 0
    replay.delivery_id = found[0].delivery_id
    assert (await channels.ReplayDeliveries(replay)).replayed_count == 1
    await receiver.wait_for(2)

    ids = {post.headers["webhook-id"] for post in receiver.posts}
    assert ids == {found[0].event_id}
    nothing: list[dict[str, Any]] = [
        {"org": "acme"},
        {"channel_id": "other"},
        {"event_id": str(uuid.uuid4())},
    ]
    for fields in nothing:
        assert not (await channels.ListDeliveries(pb.ListDeliveriesRequest(**fields))).deliveries


async def test_a_channel_that_is_deleted_takes_what_waits_with_it(
    channels: Stub, office: Office, receiver: Receiver
) -> None:
    await office.put(wanted_channel(paused=True), receiver.url)
    request = pb.DeleteChannelRequest(channel_id="oncall", audit_id="a2")
    await channels.DeleteChannel(request)

    for rpc in (
        channels.DeleteChannel(request),
        channels.TestChannel(pb.TestChannelRequest(channel_id="oncall", actor="k_ann")),
        channels.RotateChannelSecret(
            pb.RotateChannelSecretRequest(channel_id="oncall", audit_id="a3")
        ),
        channels.ReplayDeliveries(pb.ReplayDeliveriesRequest(channel_id="oncall")),
    ):
        assert (await refusal_of(rpc)).reason == "CHANNEL_NOT_FOUND"


QUIET = channel_pb2.QuietHours(start_minute=60, end_minute=120, time_zone="Europe/Amsterdam")
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no name": ({"channel_id": ""}, "channel.channel_id"),
    "a hostile name": ({"channel_id": "../x"}, "channel.channel_id"),
    "no kind": ({"kind": 0}, "channel.kind"),
    "an unknown kind": ({"kind": UNKNOWN}, "channel.kind"),
    "no url": ({"url": ""}, "channel.url"),
    "no url at all": ({"url": "ops@example.com"}, "channel.url"),
    "another scheme": ({"url": "file:///etc/passwd"}, "channel.url"),
    "a url with a user": ({"url": "https://me:pw@example.com/"}, "channel.url"),
    "a url with a bad port": ({"url": "https://example.com:99999/"}, "channel.url"),
    "a url with a line break": ({"url": "https://example.com/\r\nx: y"}, "channel.url"),
    "a url without end": ({"url": "https://example.com/" + "x" * 3_000}, "channel.url"),
    "what apprise does not know": (
        {"kind": channel_pb2.CHANNEL_KIND_APPRISE, "url": "foo://bar"},
        "channel.url",
    ),
    "a message on the server's screen": (
        {"kind": channel_pb2.CHANNEL_KIND_APPRISE, "url": "dbus://"},
        "channel.url",
    ),
    "a hostile type": ({"types": ["cost", "%"]}, "channel.types[1]"),
    "too many types": ({"types": ["cost"] * 33}, "channel.types"),
    "an unknown severity": ({"severity_min": UNKNOWN}, "channel.severity_min"),
    "a minute that is none": (
        {"quiet_hours": channel_pb2.QuietHours(start_minute=1_440, end_minute=1)},
        "channel.quiet_hours.start_minute",
    ),
    "quiet all day": ({"quiet_hours": channel_pb2.QuietHours()}, "channel.quiet_hours.end_minute"),
    "a zone that is none": (
        {"quiet_hours": channel_pb2.QuietHours(end_minute=1, time_zone="../UTC")},
        "channel.quiet_hours.time_zone",
    ),
    "a hostile org": ({"org": "a\nb"}, "org"),
}


@pytest.mark.parametrize("name", BAD)
async def test_bad_input_names_its_field_and_changes_nothing(
    channels: Stub, admin: Connection, name: str
) -> None:
    changes, field = BAD[name]
    failure = await refusal_of(channels.PutChannel(put(**changes)))

    assert failure.code == "INVALID_ARGUMENT"
    assert field in [each.field for each in failure.violations]
    assert await admin.fetchval("SELECT count(*) FROM channel") == 0


async def test_quiet_hours_are_kept(channels: Stub) -> None:
    made = await channels.PutChannel(
        put(quiet_hours=QUIET, severity_min=event_pb2.SEVERITY_WARNING)
    )

    assert made.channel.quiet_hours == QUIET
    assert made.channel.severity_min == event_pb2.SEVERITY_WARNING


async def test_without_a_key_there_are_no_channels(settings: AccountingSettings) -> None:
    bare = settings.model_copy(update={"channel_keys": None})
    async with (
        serving(bare) as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as opened,
    ):
        token = settings.service_token.get_secret_value()
        stub: Stub = pb_grpc.ChannelServiceStub(opened)
        rpc = stub.PutChannel(put(), metadata=(("authorization", f"Bearer {token}"),))
        assert (await refusal_of(rpc)).reason == "CHANNEL_KEYS_MISSING"


async def test_a_secret_opens_with_an_older_key_and_in_its_own_place_only(
    office: Office, settings: AccountingSettings
) -> None:
    secret = await office.put(wanted_channel(), URL)
    rotated = Vault({"k2": b"\x02" * 32, "k1": bytes.fromhex("0f" * 32)})
    channel = await Channels(office.pool, rotated).find(Key(org="", channel_id="oncall"))

    assert Channels(office.pool, rotated).open(channel) == (URL, [secret])
    with pytest.raises(VaultError, match="not configured"):
        Channels(office.pool, Vault({"k2": b"\x02" * 32})).open(channel)
    with pytest.raises(VaultError, match="does not open"):
        settings.vault().open(channel.sealed_url, place="channel/other")


def test_keys_are_not_shown(settings: AccountingSettings) -> None:
    shown = settings.model_copy(update={"channel_keys": SecretStr("k1:" + "ab" * 32)})

    assert "abab" not in repr(shown)
