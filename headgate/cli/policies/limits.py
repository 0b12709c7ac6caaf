"""Limits in files.

limits:
  - id: acme-monthly
    scope: {org: acme}          # left out: the platform
    metric: cost                # calls, cost, tokens, concurrency
    cap: 250                    # calls, tokens, or US dollars
    per: month                  # or rolling: 15m, refill: 100/1m, interval: FROM/TO, total: true
    time_zone: Europe/Amsterdam
    start_day: 15               # of a month, or of a week: monday
    mode: shadow                # left out: enforce
    valid_from: 2026-05-01T00:00:00Z
    valid_until: 2026-06-01T00:00:00Z
    default_share: 90           # percent of the cap for calls of default priority
    sheddable_share: 50
    alert_at: [80, 100]         # percent of the cap
    owner: finance@acme.example
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from headgate.api.common.v1 import limit_pb2
from headgate.api.gateway.v1 import admin_pb2
from headgate.cli import wording
from headgate.cli.limit_options import (
    DAYS,
    MetricName,
    ModeName,
    PeriodName,
    WindowOptions,
    format_duration,
    parse_amount,
    parse_instant,
    set_window,
)
from headgate.cli.policies.kinds import Kind
from headgate.money import write_usd

if TYPE_CHECKING:
    from collections.abc import Iterable

    from headgate.api.gateway.v1 import policy_admin_pb2
    from headgate.cli.policies.reading import Reader
    from headgate.cli.session import Session

_WINDOWS: Final = ("per", "rolling", "refill", "total", "interval")
_FIELDS: Final = (
    "id", "scope", "metric", "cap", *_WINDOWS, "time_zone", "start_day", "slots", "mode",
    "valid_from", "valid_until", "default_share", "sheddable_share", "alert_at", "owner",
)  # fmt: skip
_TIMES: Final = {"valid_from": "start_time", "valid_until": "end_time"}
_ALERT_PERCENTS: Final = [50, 80, 100]
_PERCENT: Final = 100
_SLOT_COUNT: Final = 12


def _read(reader: Reader, path: str, given: Any) -> limit_pb2.Limit:
    fields = reader.fields(path, given, _FIELDS)
    metric = reader.choice(path, fields, "metric", MetricName.CALLS)
    if "metric" not in fields:
        reader.refuse(f"{path}.metric", "required")
    limit = limit_pb2.Limit(
        limit_id=reader.text(path, fields, "id", required=True),
        scope=reader.pairs(path, fields, "scope"),
        metric=limit_pb2.Metric.Value(f"METRIC_{metric.name}"),
        owner=reader.text(path, fields, "owner"),
        mode=limit_pb2.LimitMode.Value(
            f"LIMIT_MODE_{reader.choice(path, fields, 'mode', ModeName.ENFORCE).name}"
        ),
        alert_percents=[
            reader.whole(f"{path}.alert_at[{place}]", each)
            for place, each in enumerate(reader.members(path, fields, "alert_at"))
        ],
    )
    with reader.option(f"{path}.cap"):
        limit.cap = parse_amount("cap", reader.text(path, fields, "cap", required=True), metric)
    _read_window(reader, path, fields, limit)
    for name, field in _TIMES.items():
        if name in fields:
            with reader.option(f"{path}.{name}"):
                instant = parse_instant(name, reader.text(path, fields, name))
                getattr(limit, field).CopyFrom(instant)
    _read_shares(reader, path, fields, limit)
    return limit


def _read_window(
    reader: Reader, path: str, fields: dict[str, Any], limit: limit_pb2.Limit
) -> None:
    metric = MetricName(wording.word(limit_pb2.Metric.DESCRIPTOR, limit.metric))
    period = reader.choice(path, fields, "per", PeriodName.MONTH) if "per" in fields else None
    texts = {
        name: reader.text(path, fields, name)
        for name in ("rolling", "refill", "interval", "time_zone", "start_day")
    }
    total = reader.flag(path, fields, "total")
    for name in ("time_zone", "start_day"):
        if name in fields and period is None:
            reader.refuse(f"{path}.{name}", "only goes with per")
    with reader.option(path):
        options = WindowOptions(
            per=period,
            rolling=texts["rolling"],
            refill=texts["refill"],
            total=total,
            interval=texts["interval"],
            time_zone=texts["time_zone"] or "UTC",
            start_day=texts["start_day"],
        )
        set_window(limit, options, metric)
    if "slots" in fields:
        if limit.HasField("rolling"):
            limit.rolling.slot_count = reader.whole(f"{path}.slots", fields["slots"])
        else:
            reader.refuse(f"{path}.slots", "only goes with rolling")


def _read_shares(
    reader: Reader, path: str, fields: dict[str, Any], limit: limit_pb2.Limit
) -> None:
    default = reader.whole(f"{path}.default_share", fields.get("default_share"), _PERCENT)
    sheddable = reader.whole(f"{path}.sheddable_share", fields.get("sheddable_share"), default)
    if (default, sheddable) != (_PERCENT, _PERCENT):
        limit.shares.default_percent = default
        limit.shares.sheddable_percent = sheddable


def _write(limit: limit_pb2.Limit) -> dict[str, Any]:
    told: dict[str, Any] = {"id": limit.limit_id}
    if limit.scope:
        told["scope"] = dict(sorted(limit.scope.items()))
    told["metric"] = wording.word(limit_pb2.Metric.DESCRIPTOR, limit.metric)
    told["cap"] = _amount(limit, limit.cap)
    told.update(_write_window(limit))
    if limit.mode not in (limit_pb2.LIMIT_MODE_UNSPECIFIED, limit_pb2.LIMIT_MODE_ENFORCE):
        told["mode"] = wording.word(limit_pb2.LimitMode.DESCRIPTOR, limit.mode)
    for name, field in _TIMES.items():
        if limit.HasField(field):  # type: ignore[arg-type] # one of its fields
            told[name] = getattr(limit, field).ToJsonString()
    shares = limit.shares
    if limit.HasField("shares") and (shares.default_percent, shares.sheddable_percent) != (
        _PERCENT,
        _PERCENT,
    ):
        told["default_share"] = str(shares.default_percent)
        told["sheddable_share"] = str(shares.sheddable_percent)
    if limit.alert_percents and list(limit.alert_percents) != _ALERT_PERCENTS:
        told["alert_at"] = [str(each) for each in limit.alert_percents]
    if limit.owner:
        told["owner"] = limit.owner
    return told


def _write_window(limit: limit_pb2.Limit) -> dict[str, str]:
    if limit.HasField("calendar"):
        return _write_calendar(limit.calendar)
    if limit.HasField("rolling"):
        told = {"rolling": format_duration(limit.rolling.duration)}
        if limit.rolling.slot_count not in (0, _SLOT_COUNT):
            told["slots"] = str(limit.rolling.slot_count)
        return told
    if limit.HasField("bucket"):
        amount = _amount(limit, limit.bucket.refill_amount)
        return {"refill": f"{amount}/{format_duration(limit.bucket.refill_duration)}"}
    if limit.HasField("interval"):
        start, end = limit.interval.start_time, limit.interval.end_time
        return {"interval": f"{start.ToJsonString()}/{end.ToJsonString()}"}
    return {"total": "true"} if limit.HasField("total") else {}


def _write_calendar(calendar: limit_pb2.CalendarWindow) -> dict[str, str]:
    told = {"per": wording.word(limit_pb2.CalendarPeriod.DESCRIPTOR, calendar.period)}
    if calendar.time_zone not in ("", "UTC"):
        told["time_zone"] = calendar.time_zone
    if calendar.week_start_day > 1:
        told["start_day"] = DAYS[calendar.week_start_day - 1]
    elif calendar.month_anchor_day > 1:
        told["start_day"] = str(calendar.month_anchor_day)
    return told


def _amount(limit: limit_pb2.Limit, quantity: int) -> str:
    return write_usd(quantity) if limit.metric == limit_pb2.METRIC_COST else str(quantity)


def _fetch(session: Session) -> Iterable[limit_pb2.Limit]:
    request = admin_pb2.ListLimitsRequest()
    return session.collect(lambda admin: admin.ListLimits, request).limits


def _delete(request: policy_admin_pb2.ApplyLimitsRequest, limit: limit_pb2.Limit) -> None:
    request.deleted_limit_ids.append(limit.limit_id)


LIMITS: Final = Kind(
    name="limits",
    key=lambda limit: limit.limit_id,
    read=_read,
    write=_write,
    fetch=_fetch,
    delete=_delete,
)
