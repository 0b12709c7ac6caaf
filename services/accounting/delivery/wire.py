"""Channels and deliveries: protobuf to values with validation, and back."""

from __future__ import annotations

import re
import uuid
import zoneinfo
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import asyncpg

from chassis import paging
from chassis.checks import Checks
from chassis.errors import FieldViolation, InvalidArgument
from headgate.api.accounting.v1 import channels_pb2 as pb
from headgate.api.common.v1 import channel_pb2
from services.accounting.alerts.wire import (
    ACTOR_LENGTH_MAX,
    AUDIT_ID_LENGTH_MAX,
    NUMBER_MAX,
    ORG_LENGTH_MAX,
    TYPE,
    TYPE_LENGTH_MAX,
    cut_page,
    parse_below,
    parse_org_filter,
    parse_severity,
    render_time,
)
from services.accounting.delivery.channels import Channel, ChannelKind, Key
from services.accounting.delivery.webhooks import URL_LENGTH_MAX
from services.accounting.domain.schedules import MINUTES_PER_DAY, QuietHours

TYPE_COUNT_MAX: Final = 32
ZONE_LENGTH_MAX: Final = 64
CHANNEL_ID: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
CHANNEL_ID_LENGTH_MAX: Final = 64
_KINDS: Final = frozenset(ChannelKind)
_STATES: Final = frozenset({1, 2, 3})


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelPage:
    """Which channels to list: those behind a name, in order."""

    # None: of all orgs.
    org: str | None
    after: tuple[str, str]
    # One more than the page holds.
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryQuery:
    """Which deliveries to list: those below a number, newest first."""

    below: int
    # None: of all orgs.
    org: str | None
    # Empty: all.
    channel_id: str
    # 0: any.
    state: int
    # None: any.
    event_id: uuid.UUID | None
    # One more than the page holds.
    limit: int


def parse_channel(request: pb.PutChannelRequest) -> tuple[Channel, str, str]:
    """Returns a channel to write, its URL and the audit id. Raises InvalidArgument."""
    outer, checks = Checks(), Checks("channel.")
    org = outer.text("org", request.org, min_length=0, max_length=ORG_LENGTH_MAX)
    channel = read_channel(checks, request.channel, org=org)
    outer.text("audit_id", request.audit_id, max_length=AUDIT_ID_LENGTH_MAX)
    checks.violations += outer.violations
    checks.raise_if_any()
    return channel, request.channel.url, request.audit_id


def read_channel(checks: Checks, message: channel_pb2.Channel, *, org: str) -> Channel:
    """Returns a channel to write; what is wrong with it, and its URL, is on the checks."""
    kind = checks.choice("kind", message.kind, allowed=_KINDS)
    if len(message.url) > URL_LENGTH_MAX or not message.url.isprintable():
        checks.violate("url", f"must be at most {URL_LENGTH_MAX} printable characters")
    return Channel(
        org=org,
        channel_id=_check_id(checks, message.channel_id),
        kind=ChannelKind(kind) if kind in _KINDS else ChannelKind.WEBHOOK,
        shown_url="",
        types=_parse_types(checks, message),
        severity_min=parse_severity(checks, "severity_min", message.severity_min),
        quiet=_parse_quiet(checks, message),
        paused=message.paused,
    )


def refuse_url(problem: str) -> InvalidArgument:
    """Returns the error for a URL that its kind can't use."""
    return InvalidArgument([FieldViolation("channel.url", problem)])


def parse_key(
    request: pb.DeleteChannelRequest | pb.RotateChannelSecretRequest,
) -> tuple[Key, str]:
    """Returns which channel to change, and the audit id. Raises InvalidArgument."""
    checks = Checks()
    key = _parse_key(checks, request.org, request.channel_id)
    audit_id = checks.text("audit_id", request.audit_id, max_length=AUDIT_ID_LENGTH_MAX)
    checks.raise_if_any()
    return key, audit_id


def parse_test(request: pb.TestChannelRequest) -> tuple[Key, str, str]:
    """Returns which channel to try, who does, and the audit id. Raises InvalidArgument."""
    checks = Checks()
    key = _parse_key(checks, request.org, request.channel_id)
    actor = checks.text("actor", request.actor, max_length=ACTOR_LENGTH_MAX)
    audit_id = _audit_id(checks, request.audit_id)
    checks.raise_if_any()
    return key, actor, audit_id


def parse_replay(request: pb.ReplayDeliveriesRequest) -> tuple[Key, int, str]:
    """Returns what to replay of which channel (0: all that is dead), and the audit id.

    Raises InvalidArgument.
    """
    checks = Checks()
    key = _parse_key(checks, request.org, request.channel_id)
    number = checks.integer("delivery_id", request.delivery_id, minimum=0, maximum=NUMBER_MAX)
    audit_id = _audit_id(checks, request.audit_id)
    checks.raise_if_any()
    return key, number, audit_id


def parse_channel_page(request: pb.ListChannelsRequest) -> ChannelPage:
    """Returns which channels to list. Raises InvalidArgument."""
    checks = Checks()
    org = parse_org_filter(checks, request)
    checks.raise_if_any()
    cursor = paging.decode_token(request.page_token, list="channels", org=org)
    after = cursor or ("", "")
    if len(after) != 2 or not all(isinstance(each, str) for each in after):  # noqa: PLR2004 - org, name
        checks.violate("page_token", "is not one of ours; start again without it")
        checks.raise_if_any()
    return ChannelPage(
        org=org,
        after=(str(after[0]), str(after[1])),
        limit=paging.page_size(request.page_size) + 1,
    )


def parse_delivery_query(request: pb.ListDeliveriesRequest) -> DeliveryQuery:
    """Returns which deliveries to list. Raises InvalidArgument."""
    checks = Checks()
    org = parse_org_filter(checks, request)
    if request.channel_id:
        _check_id(checks, request.channel_id)
    if request.state:
        checks.choice("state", request.state, allowed=_STATES)
    event_id = checks.uuid("event_id", request.event_id) if request.event_id else None
    checks.raise_if_any()
    return DeliveryQuery(
        below=parse_below(request, "deliveries", org=org),
        org=org,
        channel_id=request.channel_id,
        state=request.state,
        event_id=event_id,
        limit=paging.page_size(request.page_size) + 1,
    )


def render_channels(channels: Sequence[Channel], page: ChannelPage) -> pb.ListChannelsResponse:
    """Renders a page of channels."""
    shown, token = channels[: page.limit - 1], ""
    if len(channels) == page.limit:
        last = (shown[-1].org, shown[-1].channel_id)
        token = paging.encode_token(last, list="channels", org=page.org)
    return pb.ListChannelsResponse(channels=map(render_channel, shown), next_page_token=token)


def render_deliveries(
    rows: Sequence[asyncpg.Record], query: DeliveryQuery
) -> pb.ListDeliveriesResponse:
    """Renders a page of deliveries."""
    page, token = cut_page(rows, query.limit, "delivery_id", "deliveries", org=query.org)
    return pb.ListDeliveriesResponse(deliveries=map(render_delivery, page), next_page_token=token)


def render_channel(channel: Channel) -> channel_pb2.Channel:
    """Renders a channel, without its secrets."""
    quiet = channel.quiet
    return channel_pb2.Channel(
        channel_id=channel.channel_id,
        org=channel.org,
        kind=channel_pb2.ChannelKind.ValueType(channel.kind),
        url=channel.shown_url,
        types=channel.types,
        severity_min=channel.severity_min,  # type: ignore[arg-type]  # numbers are the contract's
        quiet_hours=None
        if quiet is None
        else channel_pb2.QuietHours(
            start_minute=quiet.start_minute,
            end_minute=quiet.end_minute,
            time_zone=quiet.time_zone,
        ),
        paused=channel.paused,
        create_time=render_time(channel.create_time),
        deliver_time=render_time(channel.deliver_time),
        failure_count=channel.failure_count,
    )


def render_delivery(row: asyncpg.Record) -> channel_pb2.Delivery:
    """Renders a delivery."""
    return channel_pb2.Delivery(
        delivery_id=row["delivery_id"],
        event_id=str(row["event_id"]),
        type=row["type"],
        channel_id=row["channel_id"],
        org=row["org"],
        state=row["state"],
        attempt_count=row["attempt_count"],
        error=row["error"],
        create_time=render_time(row["create_time"]),
        due_time=render_time(row["due_time"]) if row["end_time"] is None else None,
        end_time=render_time(row["end_time"]),
    )


def _audit_id(checks: Checks, audit_id: str) -> str:
    # Gateways of the release before send none.
    return checks.text("audit_id", audit_id, min_length=0, max_length=AUDIT_ID_LENGTH_MAX)


def read_key(checks: Checks, path: str, message: channel_pb2.ChannelKey) -> Key:
    """Returns the channel that a member of a set names."""
    return Key(
        org=checks.text(f"{path}.org", message.org, min_length=0, max_length=ORG_LENGTH_MAX),
        channel_id=_check_id(checks, message.channel_id, field=f"{path}.channel_id"),
    )


def _parse_key(checks: Checks, org: str, channel_id: str) -> Key:
    return Key(
        org=checks.text("org", org, min_length=0, max_length=ORG_LENGTH_MAX),
        channel_id=_check_id(checks, channel_id),
    )


def _check_id(checks: Checks, channel_id: str, *, field: str = "channel_id") -> str:
    return checks.text(field, channel_id, max_length=CHANNEL_ID_LENGTH_MAX, pattern=CHANNEL_ID)


def _parse_types(checks: Checks, message: channel_pb2.Channel) -> tuple[str, ...]:
    if len(message.types) > TYPE_COUNT_MAX:
        checks.violate("types", f"at most {TYPE_COUNT_MAX} are allowed")
        return ()
    for place, each in enumerate(message.types):
        checks.text(f"types[{place}]", each, max_length=TYPE_LENGTH_MAX, pattern=TYPE)
    return tuple(message.types)


def _parse_quiet(checks: Checks, message: channel_pb2.Channel) -> QuietHours | None:
    if not message.HasField("quiet_hours"):
        return None
    quiet, last = message.quiet_hours, MINUTES_PER_DAY - 1
    path = "quiet_hours"
    checks.integer(f"{path}.start_minute", quiet.start_minute, minimum=0, maximum=last)
    checks.integer(f"{path}.end_minute", quiet.end_minute, minimum=0, maximum=last)
    if quiet.start_minute == quiet.end_minute:
        checks.violate(f"{path}.end_minute", "must differ from the start: that would be all day")
    zone = quiet.time_zone or "UTC"
    checks.text(f"{path}.time_zone", zone, max_length=ZONE_LENGTH_MAX)
    if zone not in zoneinfo.available_timezones():
        checks.violate(f"{path}.time_zone", "must be an IANA name such as Europe/Amsterdam")
    return QuietHours(start_minute=quiet.start_minute, end_minute=quiet.end_minute, time_zone=zone)
