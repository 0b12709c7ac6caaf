"""Alerts, mutes and events: protobuf to values with validation, and back."""

from __future__ import annotations

import datetime as dt
import json
import re
import uuid
from collections.abc import Sequence
from typing import Any, Final, Protocol

import asyncpg
from google.protobuf.timestamp_pb2 import Timestamp

from chassis import paging
from chassis.checks import Checks
from chassis.errors import FieldViolation, InvalidArgument
from headgate.api.accounting.v1 import alerts_pb2 as pb
from headgate.api.common.v1 import alert_pb2, event_pb2
from services.accounting.alerts.store import AlertQuery, EventQuery, MuteOrder, StaffChange
from services.accounting.domain.alerts import AlertState
from services.accounting.domain.event_types import Severity
from services.accounting.domain.events import Event

ORG_LENGTH_MAX: Final = 128
SUBJECT_LENGTH_MAX: Final = 256
TYPE_LENGTH_MAX: Final = 64
TEXT_LENGTH_MAX: Final = 1_024
ACTOR_LENGTH_MAX: Final = 128
AUDIT_ID_LENGTH_MAX: Final = 64
MUTE_DURATION_MAX: Final = dt.timedelta(days=366)
NUMBER_MAX: Final = 2**63 - 1
TYPE: Final = re.compile(r"[a-z]+(?:\.[a-z]+)*")
_STATES: Final = frozenset(AlertState)
_SEVERITIES: Final = frozenset(Severity)


class _Page(Protocol):
    @property
    def page_size(self) -> int: ...

    @property
    def page_token(self) -> str: ...


def parse_alert_query(request: pb.ListAlertsRequest) -> AlertQuery:
    """Returns which alerts to list, one more than the page holds. Raises InvalidArgument."""
    checks = Checks()
    if request.state:
        checks.choice("state", request.state, allowed=_STATES)
    severity = parse_severity(checks, "severity_min", request.severity_min)
    org = parse_org_filter(checks, request)
    _check_type(checks, request.type)
    checks.raise_if_any()
    below = parse_below(request, "alerts", org=org)
    return AlertQuery(
        below=below,
        org=org,
        state=AlertState(request.state) if request.state else None,
        resolved_too=request.resolved_too,
        severity_min=severity,
        type=request.type,
        limit=paging.page_size(request.page_size) + 1,
    )


def parse_event_query(request: pb.ListEventsRequest) -> EventQuery:
    """Returns which events to list, one more than the page holds. Raises InvalidArgument."""
    checks = Checks()
    org = parse_org_filter(checks, request)
    _check_type(checks, request.type)
    checks.raise_if_any()
    return EventQuery(
        below=parse_below(request, "events", org=org),
        org=org,
        type=request.type,
        limit=paging.page_size(request.page_size) + 1,
    )


def parse_alert_id(request: pb.GetAlertRequest) -> tuple[int, str | None]:
    """Returns an alert's number, and the org that it must be about. Raises InvalidArgument."""
    checks = Checks()
    alert_id = checks.integer("alert_id", request.alert_id, minimum=1, maximum=NUMBER_MAX)
    org = parse_org_filter(checks, request)
    checks.raise_if_any()
    return alert_id, org


def parse_staff_change(
    request: pb.AcknowledgeAlertRequest | pb.ResolveAlertRequest,
) -> StaffChange:
    """Returns what somebody does about an alert. Raises InvalidArgument."""
    checks = Checks()
    change = StaffChange(
        alert_id=checks.integer("alert_id", request.alert_id, minimum=1, maximum=NUMBER_MAX),
        org=parse_org_filter(checks, request),
        note=checks.text("note", request.note, min_length=0, max_length=TEXT_LENGTH_MAX),
        actor=checks.text("actor", request.actor, max_length=ACTOR_LENGTH_MAX),
        audit_id=checks.text("audit_id", request.audit_id, max_length=AUDIT_ID_LENGTH_MAX),
    )
    checks.raise_if_any()
    return change


def parse_mute(request: pb.CreateAlertMuteRequest) -> MuteOrder:
    """Returns what to mute. Raises InvalidArgument."""
    checks = Checks()
    _check_type(checks, request.type)
    seconds_max = int(MUTE_DURATION_MAX.total_seconds())
    seconds = checks.integer(
        "duration.seconds", request.duration.seconds, minimum=1, maximum=seconds_max
    )
    text = checks.text
    order = MuteOrder(
        mute_id=checks.uuid("mute_id", request.mute_id),
        type=request.type,
        org=text("org", request.org, min_length=0, max_length=ORG_LENGTH_MAX),
        subject=text("subject", request.subject, min_length=0, max_length=SUBJECT_LENGTH_MAX),
        # A wrong one is refused below; it need not fit a timedelta.
        duration=dt.timedelta(seconds=min(max(seconds, 0), seconds_max)),
        reason=text("reason", request.reason, max_length=TEXT_LENGTH_MAX),
        actor=text("actor", request.actor, max_length=ACTOR_LENGTH_MAX),
        audit_id=text("audit_id", request.audit_id, max_length=AUDIT_ID_LENGTH_MAX),
    )
    checks.raise_if_any()
    return order


def parse_mute_id(request: pb.DeleteAlertMuteRequest) -> tuple[uuid.UUID, str | None, str]:
    """Returns a mute's id, the org that it must be about, and the audit id.

    Raises InvalidArgument.
    """
    checks = Checks()
    mute_id = checks.uuid("mute_id", request.mute_id)
    org = parse_org_filter(checks, request)
    # Gateways of the release before send none.
    audit_id = checks.text(
        "audit_id", request.audit_id, min_length=0, max_length=AUDIT_ID_LENGTH_MAX
    )
    checks.raise_if_any()
    return mute_id, org, audit_id


def parse_mute_list(request: pb.ListAlertMutesRequest) -> str | None:
    """Returns the org whose mutes to list; None: all. Raises InvalidArgument."""
    checks = Checks()
    org = parse_org_filter(checks, request)
    checks.raise_if_any()
    return org


def parse_org_filter(checks: Checks, request: Any) -> str | None:
    """Returns the org that a list is about; None: all."""
    if not request.HasField("org"):
        return None
    org: str = request.org
    return checks.text("org", org, min_length=0, max_length=ORG_LENGTH_MAX)


def parse_severity(checks: Checks, field: str, value: int) -> Severity:
    """Returns the least severity; unspecified is all."""
    if value == 0:
        return Severity.INFO
    known = checks.choice(field, value, allowed=_SEVERITIES)
    return Severity(known) if known in _SEVERITIES else Severity.INFO


def parse_below(request: _Page, list_name: str, *, org: str | None) -> int:
    """Returns below which number a page starts. Raises InvalidArgument."""
    cursor = paging.decode_token(request.page_token, list=list_name, org=org)
    if cursor is None:
        return NUMBER_MAX
    below = cursor[0] if len(cursor) == 1 else None
    if type(below) is not int or not 0 < below <= NUMBER_MAX:
        violation = FieldViolation("page_token", "is not one of ours; start again without it")
        raise InvalidArgument([violation])
    return below


def cut_page(
    rows: Sequence[asyncpg.Record], limit: int, key: str, list_name: str, *, org: str | None
) -> tuple[Sequence[asyncpg.Record], str]:
    """Returns the page and the token of the next one, from up to one row more than fit."""
    if len(rows) < limit:
        return rows, ""
    page = rows[: limit - 1]
    return page, paging.encode_token((page[-1][key],), list=list_name, org=org)


def render_alerts(rows: Sequence[asyncpg.Record], query: AlertQuery) -> pb.ListAlertsResponse:
    """Renders a page of alerts."""
    page, token = cut_page(rows, query.limit, "alert_id", "alerts", org=query.org)
    return pb.ListAlertsResponse(alerts=map(render_alert, page), next_page_token=token)


def render_events(rows: Sequence[asyncpg.Record], query: EventQuery) -> pb.ListEventsResponse:
    """Renders a page of events."""
    page, token = cut_page(rows, query.limit, "event_number", "events", org=query.org)
    return pb.ListEventsResponse(events=map(render_event, page), next_page_token=token)


def render_alert(row: asyncpg.Record) -> alert_pb2.Alert:
    """Renders an alert."""
    return alert_pb2.Alert(
        alert_id=row["alert_id"],
        type=row["type"],
        severity=row["severity"],
        state=row["state"],
        org=row["org"],
        subject=row["subject"],
        title=row["title"],
        data_json=row["data"],
        occurrence_count=row["occurrence_count"],
        first_time=render_time(row["first_time"]),
        last_time=render_time(row["last_time"]),
        notify_time=render_time(row["notify_time"]),
        acknowledge_time=render_time(row["acknowledge_time"]),
        acknowledged_by=row["acknowledged_by"],
        resolve_time=render_time(row["resolve_time"]),
        resolved_by=row["resolved_by"],
    )


def render_change(row: asyncpg.Record) -> alert_pb2.AlertChange:
    """Renders a step in an alert's history."""
    return alert_pb2.AlertChange(
        action=row["action"],
        actor=row["actor"],
        note=row["note"],
        change_time=render_time(row["change_time"]),
    )


def render_mute(row: asyncpg.Record) -> alert_pb2.AlertMute:
    """Renders a mute."""
    return alert_pb2.AlertMute(
        mute_id=str(row["mute_id"]),
        type=row["type"],
        org=row["org"],
        subject=row["subject"],
        expire_time=render_time(row["expire_time"]),
        reason=row["reason"],
        actor=row["actor"],
        create_time=render_time(row["create_time"]),
    )


def render_time(instant: dt.datetime | None) -> Timestamp | None:
    """Renders an instant; None stays unset."""
    if instant is None:
        return None
    time = Timestamp()
    time.FromDatetime(instant)
    return time


def render_event(row: asyncpg.Record) -> event_pb2.Event:
    """Renders an event."""
    return event_pb2.Event(
        event_id=str(row["event_id"]),
        type=row["type"],
        type_version=row["type_version"],
        severity=row["severity"],
        org=row["org"],
        subject=row["subject"],
        title=row["title"],
        data_json=row["data"],
        alert_id=row["alert_id"] or 0,
        create_time=render_time(row["create_time"]),
        muted=row["muted"],
    )


def _check_type(checks: Checks, value: str) -> None:
    checks.text("type", value, min_length=0, max_length=TYPE_LENGTH_MAX, pattern=TYPE)


def parse_event(request: pb.RecordEventRequest) -> tuple[uuid.UUID, Event]:
    """Returns what another service noticed, with its id. Raises InvalidArgument."""
    checks = Checks()
    event_id = checks.uuid("event_id", request.event_id)
    checks.text("org", request.org, min_length=0, max_length=ORG_LENGTH_MAX)
    checks.text("subject", request.subject, max_length=SUBJECT_LENGTH_MAX)
    checks.text("title", request.title, max_length=TEXT_LENGTH_MAX)
    try:
        event = Event(
            type=request.type,
            org=request.org,
            subject=request.subject,
            title=request.title,
            data=dict(json.loads(request.data_json)),
        )
    except (TypeError, ValueError) as error:
        raise InvalidArgument([FieldViolation("data_json", str(error))]) from None
    checks.raise_if_any()
    return event_id, event
