"""`headgate alerts`: what is wrong, who has taken it on, and what happened."""

from __future__ import annotations

import enum
import uuid
from collections.abc import Iterable
from typing import Annotated, Any, Final

import typer

from headgate.api.common.v1 import alert_pb2, event_pb2
from headgate.api.gateway.v1 import alert_admin_pb2 as pb
from headgate.api.gateway.v1.alert_admin_pb2_grpc import AlertAdminServiceStub
from headgate.cli import wording
from headgate.cli.config import WrongUse
from headgate.cli.output import Json, say, show_json, show_table
from headgate.cli.session import open_session

_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}

app = typer.Typer(name="alerts", help="What is wrong, and what happened.", no_args_is_help=True)

Org = Annotated[str, typer.Option(help="Only what is about this org.")]
Platform = Annotated[
    bool, typer.Option("--platform", help="Only what is about the platform itself.")
]
Type = Annotated[
    str, typer.Option("--type", help="Only this type, or all that begin so: cost, breaker.")
]
Number = Annotated[int, typer.Argument(min=1, help="Number of the alert.")]
Note = Annotated[str, typer.Option(help="What to write down with it.")]


class SeverityName(str, enum.Enum):
    """How much something matters."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def number(self) -> event_pb2.Severity.ValueType:
        """The contract's number."""
        return event_pb2.Severity.Value(f"SEVERITY_{self.name}")


@app.command("list")
def list_alerts(
    context: typer.Context,
    *,
    org: Org = "",
    platform: Platform = False,
    type_: Type = "",
    severity: Annotated[
        SeverityName, typer.Option(help="At least so severe.")
    ] = SeverityName.INFO,
    every: Annotated[bool, typer.Option("--all", help="Resolved ones too.")] = False,
    json: Json = False,
) -> None:
    """Lists alerts that are not resolved, newest first."""
    request = pb.ListAlertsRequest(type=type_, severity_min=severity.number, resolved_too=every)
    set_org(request, org, platform=platform)
    answer: pb.ListAlertsResponse = open_session(context).collect_at(
        AlertAdminServiceStub, lambda alerts: alerts.ListAlerts, request
    )
    show_json(answer) if json else _show_alerts(answer.alerts)


@app.command("show")
def show_alert(context: typer.Context, alert_id: Number, json: Json = False) -> None:
    """Shows one alert with its facts and its history."""
    answer: pb.GetAlertResponse = open_session(context).ask_at(
        AlertAdminServiceStub,
        lambda alerts: alerts.GetAlert,
        pb.GetAlertRequest(alert_id=alert_id),
    )
    if json:
        show_json(answer)
        return
    _show_alerts([answer.alert])
    say(answer.alert.data_json)
    show_table(
        ["TIME", "STEP", "BY", "NOTE"],
        [
            [
                wording.instant(each, "change_time"),
                wording.word(alert_pb2.AlertAction.DESCRIPTOR, each.action),
                each.actor or "itself",
                each.note or wording.NOTHING,
            ]
            for each in answer.changes
        ],
        empty="Nothing has been done about it.",
    )


@app.command("ack")
def acknowledge(
    context: typer.Context, alert_id: Number, note: Note = "", json: Json = False
) -> None:
    """Takes an alert on: it is told again only if it gets worse."""
    answer: pb.AcknowledgeAlertResponse = open_session(context).ask_at(
        AlertAdminServiceStub,
        lambda alerts: alerts.AcknowledgeAlert,
        pb.AcknowledgeAlertRequest(alert_id=alert_id, note=note),
    )
    show_json(answer) if json else _show_alerts([answer.alert])


@app.command("resolve")
def resolve(context: typer.Context, alert_id: Number, note: Note = "", json: Json = False) -> None:
    """Ends an alert."""
    answer: pb.ResolveAlertResponse = open_session(context).ask_at(
        AlertAdminServiceStub,
        lambda alerts: alerts.ResolveAlert,
        pb.ResolveAlertRequest(alert_id=alert_id, note=note),
    )
    show_json(answer) if json else _show_alerts([answer.alert])


@app.command("mute")
def mute(
    context: typer.Context,
    *,
    duration: Annotated[str, typer.Option("--for", metavar="TIME", help="How long: 30m, 2h, 7d.")],
    reason: Annotated[str, typer.Option(help="Why, for staff.")],
    type_: Type = "",
    org: Org = "",
    subject: Annotated[str, typer.Option(help="Only what is about this, as in the list.")] = "",
    json: Json = False,
) -> None:
    """Keeps events from all channels for a while; they are written all the same."""
    request = pb.CreateAlertMuteRequest(
        mute_id=str(uuid.uuid4()), type=type_, org=org, subject=subject, reason=reason
    )
    request.duration.FromSeconds(_parse_duration(duration))
    answer: pb.CreateAlertMuteResponse = open_session(context).ask_at(
        AlertAdminServiceStub, lambda alerts: alerts.CreateAlertMute, request
    )
    show_json(answer) if json else _show_mutes([answer.mute])


@app.command("unmute")
def unmute(
    context: typer.Context,
    mute_id: Annotated[str, typer.Argument(help="Id of the mute, as in the list.")],
    json: Json = False,
) -> None:
    """Ends a mute before its time."""
    answer: pb.DeleteAlertMuteResponse = open_session(context).ask_at(
        AlertAdminServiceStub,
        lambda alerts: alerts.DeleteAlertMute,
        pb.DeleteAlertMuteRequest(mute_id=mute_id),
        repeatable=False,
    )
    show_json(answer) if json else say(f"Mute {mute_id} has ended.")


@app.command("mutes")
def list_mutes(context: typer.Context, json: Json = False) -> None:
    """Lists the mutes that are in force."""
    answer: pb.ListAlertMutesResponse = open_session(context).ask_at(
        AlertAdminServiceStub, lambda alerts: alerts.ListAlertMutes, pb.ListAlertMutesRequest()
    )
    show_json(answer) if json else _show_mutes(answer.mutes)


@app.command("events")
def list_events(
    context: typer.Context,
    *,
    last: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 50,
    org: Org = "",
    platform: Platform = False,
    type_: Type = "",
    json: Json = False,
) -> None:
    """Lists what happened, newest first."""
    request = pb.ListEventsRequest(page_size=last, type=type_)
    set_org(request, org, platform=platform)
    answer: pb.ListEventsResponse = open_session(context).ask_at(
        AlertAdminServiceStub, lambda alerts: alerts.ListEvents, request
    )
    if json:
        show_json(answer)
        return
    show_table(
        ["TIME", "SEVERITY", "TYPE", "ORG", "WHAT"],
        [
            [
                wording.instant(each, "create_time"),
                wording.word(event_pb2.Severity.DESCRIPTOR, each.severity),
                each.type + (" (muted)" if each.muted else ""),
                each.org or wording.PLATFORM,
                each.title,
            ]
            for each in answer.events
        ],
        empty="Nothing has happened yet.",
    )


def set_org(request: Any, org: str, *, platform: bool) -> None:
    """Restricts a list to an org, to the platform, or to nothing."""
    if org and platform:
        raise WrongUse("--org and --platform exclude each other")
    if org or platform:
        request.org = org


def _parse_duration(text: str) -> int:
    digits, unit = text[:-1], text[-1:]
    if not (digits.isascii() and digits.isdigit() and unit in _UNITS):
        raise WrongUse(f"--for: {text!r} is no time; write it like 30m, 2h or 7d")
    return int(digits) * _UNITS[unit]


def _show_alerts(alerts: Iterable[alert_pb2.Alert]) -> None:
    show_table(
        ["ALERT", "SEVERITY", "STATE", "TYPE", "ORG", "SUBJECT", "SINCE", ">TIMES", "BY", "WHAT"],
        [
            [
                str(each.alert_id),
                wording.word(event_pb2.Severity.DESCRIPTOR, each.severity),
                wording.word(alert_pb2.AlertState.DESCRIPTOR, each.state),
                each.type,
                each.org or wording.PLATFORM,
                each.subject,
                wording.instant(each, "first_time"),
                f"{each.occurrence_count:,}",
                each.resolved_by or each.acknowledged_by or wording.NOTHING,
                each.title,
            ]
            for each in alerts
        ],
        empty="Nothing is wrong.",
    )


def _show_mutes(mutes: Iterable[alert_pb2.AlertMute]) -> None:
    show_table(
        ["MUTE", "TYPE", "ORG", "SUBJECT", "UNTIL", "BY", "REASON"],
        [
            [
                each.mute_id,
                each.type or "all",
                each.org or "all",
                each.subject or "all",
                wording.instant(each, "expire_time"),
                each.actor,
                each.reason,
            ]
            for each in mutes
        ],
        empty="Nothing is muted.",
    )
