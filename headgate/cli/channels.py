"""`headgate channels`: where events go, and what became of them on the way."""

from __future__ import annotations

import enum
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Final

import typer

from headgate.api.common.v1 import channel_pb2, event_pb2
from headgate.api.gateway.v1 import channel_admin_pb2 as pb
from headgate.api.gateway.v1.channel_admin_pb2_grpc import ChannelAdminServiceStub
from headgate.cli import wording
from headgate.cli.alerts import Platform, SeverityName, set_org
from headgate.cli.config import WrongUse
from headgate.cli.output import Json, say, show_json, show_table
from headgate.cli.session import open_session

_STDIN: Final = "-"

app = typer.Typer(name="channels", help="Where events go.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Name of the channel, such as acme-oncall.")]
Owner = Annotated[str, typer.Option(help="Org that it belongs to; else it is the platform's.")]


class KindName(str, enum.Enum):
    """How events get to a channel."""

    WEBHOOK = "webhook"
    APPRISE = "apprise"


class StateName(str, enum.Enum):
    """Where a delivery stands."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    DEAD = "dead"


@app.command("list")
def list_channels(
    context: typer.Context, *, org: Owner = "", platform: Platform = False, json: Json = False
) -> None:
    """Lists channels by org and name, without their secrets."""
    request = pb.ListChannelsRequest()
    set_org(request, org, platform=platform)
    answer: pb.ListChannelsResponse = open_session(context).collect_at(
        ChannelAdminServiceStub, lambda channels: channels.ListChannels, request
    )
    show_json(answer) if json else _show_channels(answer.channels)


@app.command("set")
def set_channel(
    context: typer.Context,
    name: Name,
    *,
    kind: Annotated[KindName, typer.Option(help="How events get there.")],
    url_file: Annotated[
        Path | None,
        typer.Option(
            help="File with the URL, which is secret; - is standard input. Left out: as it was."
        ),
    ] = None,
    org: Owner = "",
    type_: Annotated[
        list[str] | None,
        typer.Option("--type", help="Only this type, or all that begin so; repeat it for more."),
    ] = None,
    severity: Annotated[
        SeverityName, typer.Option(help="At least so severe.")
    ] = SeverityName.INFO,
    quiet: Annotated[
        str, typer.Option(metavar="HH:MM-HH:MM", help="Hours in which only critical events go.")
    ] = "",
    time_zone: Annotated[
        str, typer.Option(metavar="ZONE", help="Whose hours these are, such as Europe/Amsterdam.")
    ] = "UTC",
    paused: Annotated[bool, typer.Option("--paused", help="Let it get nothing for now.")] = False,
    json: Json = False,
) -> None:
    """Creates or replaces a channel. A new webhook's secret is printed once."""
    channel = channel_pb2.Channel(
        channel_id=name,
        kind=channel_pb2.ChannelKind.Value(f"CHANNEL_KIND_{kind.name}"),
        url=_read_url(url_file),
        types=type_ or [],
        severity_min=severity.number,
        paused=paused,
        quiet_hours=parse_quiet(quiet, time_zone) if quiet else None,
    )
    # A repetition would not print the secret.
    answer: pb.PutChannelResponse = open_session(context).ask_at(
        ChannelAdminServiceStub,
        lambda channels: channels.PutChannel,
        pb.PutChannelRequest(channel=channel, org=org),
        repeatable=False,
    )
    if json:
        show_json(answer)
        return
    _show_channels([answer.channel])
    _say_secret(answer.secret)


@app.command("delete")
def delete_channel(
    context: typer.Context, name: Name, *, org: Owner = "", json: Json = False
) -> None:
    """Deletes a channel and what waits for it."""
    answer: pb.DeleteChannelResponse = open_session(context).ask_at(
        ChannelAdminServiceStub,
        lambda channels: channels.DeleteChannel,
        pb.DeleteChannelRequest(channel_id=name, org=org),
        repeatable=False,
    )
    show_json(answer) if json else say(f"Channel {name} is deleted.")


@app.command("rotate")
def rotate_secret(
    context: typer.Context, name: Name, *, org: Owner = "", json: Json = False
) -> None:
    """Gives a webhook a new secret; the one before signs beside it until the next rotation."""
    answer: pb.RotateChannelSecretResponse = open_session(context).ask_at(
        ChannelAdminServiceStub,
        lambda channels: channels.RotateChannelSecret,
        pb.RotateChannelSecretRequest(channel_id=name, org=org),
        repeatable=False,
    )
    show_json(answer) if json else _say_secret(answer.secret)


@app.command("test")
def try_channel(
    context: typer.Context, name: Name, *, org: Owner = "", json: Json = False
) -> None:
    """Sends a test event to a channel, and says how it went."""
    answer: pb.TestChannelResponse = open_session(context).ask_at(
        ChannelAdminServiceStub,
        lambda channels: channels.TestChannel,
        pb.TestChannelRequest(channel_id=name, org=org),
        repeatable=False,
    )
    show_json(answer) if json else _show_deliveries([answer.delivery])
    if answer.delivery.state != channel_pb2.DELIVERY_STATE_DELIVERED:
        raise typer.Exit(1)


@app.command("deliveries")
def list_deliveries(
    context: typer.Context,
    *,
    last: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 50,
    org: Owner = "",
    platform: Platform = False,
    channel: Annotated[str, typer.Option(help="Only to this channel.")] = "",
    state: Annotated[StateName | None, typer.Option(help="Only those that stand so.")] = None,
    json: Json = False,
) -> None:
    """Lists what became of events on their way, newest first."""
    request = pb.ListDeliveriesRequest(page_size=last, channel_id=channel)
    if state is not None:
        request.state = channel_pb2.DeliveryState.Value(f"DELIVERY_STATE_{state.name}")
    set_org(request, org, platform=platform)
    answer: pb.ListDeliveriesResponse = open_session(context).ask_at(
        ChannelAdminServiceStub, lambda channels: channels.ListDeliveries, request
    )
    show_json(answer) if json else _show_deliveries(answer.deliveries)


@app.command("replay")
def replay(
    context: typer.Context,
    name: Name,
    *,
    org: Owner = "",
    delivery: Annotated[
        int, typer.Option(min=0, help="Only this one, whether it was delivered or not.")
    ] = 0,
    json: Json = False,
) -> None:
    """Lets what was given up start anew."""
    answer: pb.ReplayDeliveriesResponse = open_session(context).ask_at(
        ChannelAdminServiceStub,
        lambda channels: channels.ReplayDeliveries,
        pb.ReplayDeliveriesRequest(channel_id=name, org=org, delivery_id=delivery),
    )
    show_json(answer) if json else say(f"{answer.replayed_count:,} start anew.")


def _read_url(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        text = sys.stdin.read() if str(path) == _STDIN else path.read_text()
    except OSError as error:
        raise WrongUse(f"can't read {path}: {error.strerror}") from None
    return text.strip()


def parse_quiet(text: str, time_zone: str) -> channel_pb2.QuietHours:
    """Returns hours such as 22:00-07:00."""
    start, _, end = text.partition("-")
    start_minute, end_minute = _parse_minute(start), _parse_minute(end)
    if start_minute is None or end_minute is None:
        raise WrongUse(f"--quiet: {text!r} are no hours; write them like 22:00-07:00")
    return channel_pb2.QuietHours(
        start_minute=start_minute, end_minute=end_minute, time_zone=time_zone
    )


def _parse_minute(text: str) -> int | None:
    hour, colon, minute = text.strip().partition(":")
    if not (colon and hour.isascii() and hour.isdigit() and minute.isascii() and minute.isdigit()):
        return None
    return int(hour) * 60 + int(minute) if int(minute) < 60 else None  # noqa: PLR2004 - an hour


def _say_secret(secret: str) -> None:
    if secret:
        say("")
        say(secret)
        say("Keep it now: it is not shown again. It proves who sends.")


def _show_channels(channels: Iterable[channel_pb2.Channel]) -> None:
    show_table(
        ["CHANNEL", "ORG", "KIND", "URL", "TYPES", "FROM", "QUIET", "DELIVERED", ">FAILED"],
        [
            [
                each.channel_id + (" (paused)" if each.paused else ""),
                each.org or wording.PLATFORM,
                wording.word(channel_pb2.ChannelKind.DESCRIPTOR, each.kind),
                each.url,
                ", ".join(each.types) or "all",
                wording.word(event_pb2.Severity.DESCRIPTOR, each.severity_min),
                _show_quiet(each),
                wording.instant(each, "deliver_time"),
                f"{each.failure_count:,}",
            ]
            for each in channels
        ],
        empty="There is no channel: nobody is told of anything.",
    )


def _show_quiet(channel: channel_pb2.Channel) -> str:
    if not channel.HasField("quiet_hours"):
        return wording.NOTHING
    return f"{word_quiet(channel.quiet_hours)} {channel.quiet_hours.time_zone}"


def word_quiet(quiet: channel_pb2.QuietHours) -> str:
    """Returns hours as `parse_quiet` reads them."""
    start, end = (
        f"{minute // 60:02}:{minute % 60:02}" for minute in (quiet.start_minute, quiet.end_minute)
    )
    return f"{start}-{end}"


def _show_deliveries(deliveries: Iterable[channel_pb2.Delivery]) -> None:
    show_table(
        ["DELIVERY", "TYPE", "CHANNEL", "ORG", "STATE", ">ATTEMPTS", "SINCE", "DUE", "ERROR"],
        [
            [
                str(each.delivery_id),
                each.type,
                each.channel_id,
                each.org or wording.PLATFORM,
                wording.word(channel_pb2.DeliveryState.DESCRIPTOR, each.state),
                str(each.attempt_count),
                wording.instant(each, "create_time"),
                wording.instant(each, "due_time"),
                each.error or wording.NOTHING,
            ]
            for each in deliveries
        ],
        empty="Nothing has been sent yet.",
    )
