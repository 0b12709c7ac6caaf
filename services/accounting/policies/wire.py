"""Sets of prices and channels: protobuf to values with validation, and back."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Final

from chassis.checks import Checks
from headgate.api.accounting.v1 import policies_pb2 as pb
from headgate.api.common.v1 import channel_pb2
from services.accounting.alerts.wire import ORG_LENGTH_MAX
from services.accounting.delivery import wire
from services.accounting.delivery.channels import Channel, Key
from services.accounting.policies.sets import Wanted
from services.accounting.wire_prices import parse_audit_id, parse_key, parse_overrides

MEMBER_COUNT_MAX: Final = 5_000


def parse_wanted(request: pb.ApplyPricesRequest) -> Wanted:
    """Returns the set to write. Raises InvalidArgument with every violation."""
    checks = Checks()
    written = len(request.prices) + len(request.channels)
    if (
        not 1
        <= written + len(request.deleted_prices) + len(request.deleted_channels)
        <= (MEMBER_COUNT_MAX)
    ):
        checks.violate("prices", f"send 1 to {MEMBER_COUNT_MAX} members, all kinds together")
        checks.raise_if_any()
    wanted = Wanted(
        overrides=parse_overrides(checks, request.prices),
        ended=[
            parse_key(checks, f"deleted_prices[{place}].", each)
            for place, each in enumerate(request.deleted_prices)
        ],
        channels=_parse_channels(checks, request.channels),
        deleted=[
            wire.read_key(checks, f"deleted_channels[{place}]", each)
            for place, each in enumerate(request.deleted_channels)
        ],
    )
    _check_once(checks, "prices", [each.key for each in wanted.overrides], wanted.ended)
    keys = [Key(org=each.org, channel_id=each.channel_id) for each, _ in wanted.channels]
    _check_once(checks, "channels", keys, wanted.deleted)
    parse_audit_id(checks, request.audit_id)
    checks.raise_if_any()
    return wanted


def render_applied(version: int, secrets: Iterable[tuple[Key, str]]) -> pb.ApplyPricesResponse:
    """Renders what was done."""
    return pb.ApplyPricesResponse(
        version=version,
        secrets=[
            channel_pb2.ChannelSecret(
                channel=channel_pb2.ChannelKey(org=key.org, channel_id=key.channel_id),
                secret=secret,
            )
            for key, secret in secrets
        ],
    )


def _check_once(
    checks: Checks, field: str, written: Sequence[Hashable], deleted: Sequence[Hashable]
) -> None:
    checks.distinct(
        [(f"{field}[{place}]", key) for place, key in enumerate(written)]
        + [(f"deleted_{field}[{place}]", key) for place, key in enumerate(deleted)]
    )


def _parse_channels(
    checks: Checks, messages: Sequence[channel_pb2.Channel]
) -> list[tuple[Channel, str]]:
    channels = []
    for place, message in enumerate(messages):
        inner = Checks(f"channels[{place}].")
        org = inner.text("org", message.org, min_length=0, max_length=ORG_LENGTH_MAX)
        channels.append((wire.read_channel(inner, message, org=org), message.url))
        checks.violations += inner.violations
    return channels
