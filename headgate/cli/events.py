"""`headgate events`: what happens, as it happens."""

from __future__ import annotations

import json as json_lib
import sys
import time
from typing import Annotated, Final

import typer
from google.protobuf.json_format import MessageToDict

from headgate.api.common.v1 import event_pb2
from headgate.api.gateway.v1 import event_admin_pb2 as pb
from headgate.api.gateway.v1.event_admin_pb2_grpc import EventAdminServiceStub
from headgate.cli import wording
from headgate.cli.alerts import Org, Platform, SeverityName, set_org
from headgate.cli.output import say
from headgate.cli.session import open_session
from headgate.errors import Unavailable

app = typer.Typer(name="events", help="What happens, as it happens.", no_args_is_help=True)

# Between two attempts to go on after the stream was lost.
_PAUSE_SECONDS: Final = 1.0


@app.command("watch")
def watch(
    context: typer.Context,
    *,
    org: Org = "",
    platform: Platform = False,
    types: Annotated[
        list[str] | None,
        typer.Option("--type", help="Only this type, or all that begin so: cost. Repeat it."),
    ] = None,
    severity: Annotated[
        SeverityName, typer.Option(help="At least so severe.")
    ] = SeverityName.INFO,
    after: Annotated[
        str, typer.Option(metavar="TOKEN", help="Go on after this token, else from now on.")
    ] = "",
    count: Annotated[int, typer.Option(min=0, help="End after so many; 0: never.")] = 0,
    json: Annotated[
        bool, typer.Option("--json", help="Print each event as JSON on a line of its own.")
    ] = False,
) -> None:
    """Shows events as they come, until it is interrupted; goes on by itself after an outage."""
    request = pb.WatchEventsRequest(
        types=types or [], severity_min=severity.number, resume_token=after
    )
    set_org(request, org, platform=platform)
    follower = _Follower(request, count=count, json=json)
    session = open_session(context)
    try:
        while True:
            try:
                session.stream_at(
                    EventAdminServiceStub,
                    lambda events: events.WatchEvents,
                    request,
                    follower.take,
                )
            except Unavailable as error:
                if not follower.heard:
                    raise
                print(f"headgate: {error}; going on", file=sys.stderr)
            time.sleep(_PAUSE_SECONDS)
    except _Enough:
        pass
    except KeyboardInterrupt:
        print(f"\ngo on with --after {request.resume_token}", file=sys.stderr)


class _Enough(Exception):  # noqa: N818 - no error
    """As many were shown as were wanted."""


class _Follower:
    def __init__(self, request: pb.WatchEventsRequest, *, count: int, json: bool) -> None:
        self._request = request
        self._left = count
        self._json = json
        self.heard = False

    def take(self, told: pb.WatchEventsResponse) -> None:
        """Shows an event, and remembers where to go on."""
        self.heard = True
        self._request.resume_token = told.resume_token
        if not told.HasField("event"):
            return
        _show_json(told) if self._json else _show(told.event)
        sys.stdout.flush()
        if self._left == 1:
            raise _Enough
        self._left -= 1


def _show_json(told: pb.WatchEventsResponse) -> None:
    fields = MessageToDict(
        told, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    print(json_lib.dumps(fields, ensure_ascii=False))


def _show(event: event_pb2.Event) -> None:
    severity = wording.word(event_pb2.Severity.DESCRIPTOR, event.severity)
    muted = " (muted)" if event.muted else ""
    say(
        f"{wording.instant(event, 'create_time')}  {severity:8}  {event.type}  "
        f"{event.org or wording.PLATFORM}  {event.title}{muted}"
    )
