"""Channels in files. Where they go is secret: a file says where to find it.

channels:
  - id: oncall
    org: acme                   # left out: the platform's
    kind: webhook               # or apprise
    url: {env: ONCALL_URL}      # or {file: /run/secrets/oncall}; left out: as it was
    types: [alert, limit.exceeded]
    severity: warning           # at least so severe; left out: info
    quiet: 22:00-07:00          # only critical events go then
    time_zone: Europe/Amsterdam
    paused: true
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from headgate.api.common.v1 import channel_pb2
from headgate.api.gateway.v1 import channel_admin_pb2 as pb
from headgate.api.gateway.v1.channel_admin_pb2_grpc import ChannelAdminServiceStub
from headgate.cli import wording
from headgate.cli.alerts import SeverityName
from headgate.cli.channels import KindName, parse_quiet, word_quiet
from headgate.cli.config import read_variable
from headgate.cli.policies.kinds import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from headgate.api.gateway.v1 import policy_admin_pb2
    from headgate.cli.policies.reading import Reader
    from headgate.cli.session import Session

_FIELDS: Final = (
    "id", "org", "kind", "url", "types", "severity", "quiet", "time_zone", "paused",
)  # fmt: skip
_SOURCES: Final = ("env", "file")
_HIDDEN: Final = "***"


def _key(channel: channel_pb2.Channel) -> str:
    return f"{channel.channel_id}@{channel.org}" if channel.org else channel.channel_id


def _read(reader: Reader, path: str, given: Any) -> channel_pb2.Channel:
    fields = reader.fields(path, given, _FIELDS)
    if "kind" not in fields:
        reader.refuse(f"{path}.kind", "required")
    kind = reader.choice(path, fields, "kind", KindName.WEBHOOK)
    severity = reader.choice(path, fields, "severity", SeverityName.INFO)
    channel = channel_pb2.Channel(
        channel_id=reader.text(path, fields, "id", required=True),
        org=reader.text(path, fields, "org"),
        kind=channel_pb2.ChannelKind.Value(f"CHANNEL_KIND_{kind.name}"),
        url=_read_source(reader, f"{path}.url", fields["url"]) if "url" in fields else "",
        types=reader.texts(path, fields, "types"),
        severity_min=severity.number,
        paused=reader.flag(path, fields, "paused"),
    )
    zone, quiet = reader.text(path, fields, "time_zone"), reader.text(path, fields, "quiet")
    if quiet:
        with reader.option(f"{path}.quiet"):
            channel.quiet_hours.CopyFrom(parse_quiet(quiet, zone or "UTC"))
    elif zone:
        reader.refuse(f"{path}.time_zone", "only goes with quiet")
    return channel


def _read_source(reader: Reader, path: str, given: Any) -> str:
    """Returns where the URL is to be found, such as "env:ONCALL_URL"."""
    if isinstance(given, dict) and len(given) == 1:
        ((name, value),) = given.items()
        if name in _SOURCES and isinstance(value, str) and value:
            return f"{name}:{value}"
    reader.refuse(path, "is secret: write {env: VARIABLE} or {file: PATH}")
    return ""


def _complete(
    wanted: channel_pb2.Channel, known: channel_pb2.Channel | None
) -> channel_pb2.Channel:
    """Returns the channel with its URL. Without one it stays as it was, if there is a channel."""
    completed = channel_pb2.Channel()
    completed.CopyFrom(wanted)
    completed.url = _find_url(wanted.url)
    if not completed.url and known is None:
        source = wanted.url.partition(":")[2]
        raise ValueError(
            f"url: a new channel needs it: set {source}" if source else "url: required"
        )
    if known is not None and (not completed.url or _hide(completed) == known.url):
        completed.url = known.url
    return completed


def _find_url(source: str) -> str:
    name, _, place = source.partition(":")
    if name == "env":
        return read_variable(place).strip()
    if name == "file":
        try:
            return Path(place).read_text().strip()
        except (OSError, UnicodeDecodeError):
            return ""
    return ""


def _hide(channel: channel_pb2.Channel) -> str:
    """Returns what is shown of a URL: what is secret in it is no drift, for nobody can see it."""
    parts = urlsplit(channel.url)
    if channel.kind == channel_pb2.CHANNEL_KIND_APPRISE:
        return f"{parts.scheme}://{_HIDDEN}"
    host = parts.hostname or ""
    port = "" if parts.port is None else f":{parts.port}"
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}/{_HIDDEN}"


def _write(channel: channel_pb2.Channel) -> dict[str, Any]:
    told: dict[str, Any] = {"id": channel.channel_id}
    if channel.org:
        told["org"] = channel.org
    told["kind"] = wording.word(channel_pb2.ChannelKind.DESCRIPTOR, channel.kind)
    told["url"] = channel.url if channel.url.endswith(_HIDDEN) else _hide(channel)
    if channel.types:
        told["types"] = list(channel.types)
    severity = channel.severity_min or SeverityName.INFO.number
    if severity != SeverityName.INFO.number:
        told["severity"] = next(each.value for each in SeverityName if each.number == severity)
    if channel.HasField("quiet_hours"):
        told["quiet"] = word_quiet(channel.quiet_hours)
        if channel.quiet_hours.time_zone not in ("", "UTC"):
            told["time_zone"] = channel.quiet_hours.time_zone
    if channel.paused:
        told["paused"] = "true"
    return told


def _export(channel: channel_pb2.Channel) -> dict[str, Any]:
    name = re.sub(r"[^A-Z0-9]+", "_", _key(channel).upper())
    return _write(channel) | {"url": {"env": f"HEADGATE_CHANNEL_{name}"}}


def _send(channel: channel_pb2.Channel) -> channel_pb2.Channel:
    """Returns what is sent: nothing in the place of a URL that stays as it was."""
    sent = channel_pb2.Channel()
    sent.CopyFrom(channel)
    if sent.url.endswith(_HIDDEN):
        sent.url = ""
    return sent


def _fetch(session: Session) -> Iterable[channel_pb2.Channel]:
    answer: pb.ListChannelsResponse = session.collect_at(
        ChannelAdminServiceStub, lambda channels: channels.ListChannels, pb.ListChannelsRequest()
    )
    return answer.channels


def _delete(request: policy_admin_pb2.ApplyPricesRequest, channel: channel_pb2.Channel) -> None:
    request.deleted_channels.add(org=channel.org, channel_id=channel.channel_id)


CHANNELS: Final = Kind(
    name="channels",
    key=_key,
    read=_read,
    write=_write,
    fetch=_fetch,
    delete=_delete,
    complete=_complete,
    send=_send,
    export=_export,
)
