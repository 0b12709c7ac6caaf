"""A story of a few calls in which all is well, for lies to be planted in."""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass, field, replace
from typing import Any

from tests.guarantees.nemesis.books import (
    CALENDAR,
    METRIC_COST,
    Books,
    Cap,
    Counter,
    Ended,
    Open,
    State,
    Usage,
)
from tests.guarantees.nemesis.checker import Rules
from tests.guarantees.nemesis.history import Action, Kind, Operation

MIDNIGHT = dt.datetime(2026, 11, 26, tzinfo=dt.UTC)
NOON = MIDNIGHT + dt.timedelta(hours=12)
SECOND = dt.timedelta(seconds=1)
HOLD = 4 * SECOND
DAY = uuid.UUID(int=1)
ORG = "acme"
CAP = 100
RULES = Rules(hold=HOLD, sweep=2 * SECOND, outages=(), limits={(ORG, METRIC_COST): "acme-cost"})

DAY_COUNTER = Counter(
    counter_id=DAY,
    org=ORG,
    scope="",
    metric=METRIC_COST,
    window_kind=CALENDAR,
    start_time=MIDNIGHT,
    end_time=MIDNIGHT + dt.timedelta(days=1),
    held=0,
    settled=30 + 45,
    overrun=5,
    high_cap=CAP,
)


def ns(time: dt.datetime) -> int:
    return int(time.timestamp() * 1e9)


@dataclass(slots=True)
class Story:
    """A settled, a released, an expired and a denied call: all is well."""

    operations: dict[str, Operation] = field(default_factory=dict)
    ended: dict[str, Ended] = field(default_factory=dict)
    usage: dict[str, Usage] = field(default_factory=dict)
    open: list[Open] = field(default_factory=list)
    counter: Counter = DAY_COUNTER
    caps: list[Cap] = field(
        default_factory=lambda: [Cap(limit_id="acme-cost", cap=CAP, change_time=MIDNIGHT)]
    )

    def books(self) -> Books:
        return Books(
            counters=(self.counter,),
            ended=tuple(self.ended.values()),
            open=tuple(self.open),
            usage=tuple(self.usage.values()),
            caps=tuple(self.caps),
        )

    def change(self, name: str, **fields: Any) -> None:
        self.ended[name] = replace(self.ended[name], **fields)

    def answer(self, name: str, **facts: Any) -> None:
        known = self.operations[name]
        self.operations[name] = replace(known, facts=known.facts | facts)

    def repeat(self, name: str, **fields: Any) -> None:
        self.operations[f"{name} again"] = replace(
            self.operations[name], operation_id=f"{name} again", **fields
        )


def make_story() -> Story:
    story = Story()
    for number, (name, state, settled) in enumerate(
        [("settled", State.SETTLED, 45), ("released", State.RELEASED, 0), ("lost", 4, 30)]
    ):
        held = {"settled": 40, "released": 50, "lost": 30}[name]
        admitted = NOON + 10 * number * SECOND
        story.operations[name] = make_operation(
            name, Action.ADMIT, admitted, {"decision": {"admission": admission(held, admitted)}}
        )
        story.ended[name] = Ended(
            org=ORG,
            call_id=name,
            held_nanos=held,
            settled_nanos=settled,
            state=state,
            revision=int(state == State.SETTLED),
            hold_returned=state == State.RELEASED,
            admit_time=admitted,
            expire_time=admitted + HOLD,
            end_time=admitted + (HOLD if state == State.EXPIRED else SECOND),
            is_tombstone=False,
            counter_ids=(DAY,),
        )
    story.operations["report"] = make_operation(
        "settled", Action.COMPLETE, NOON + SECOND, {"receipt": {"total_nanos": "45"}}
    )
    story.operations["release"] = make_operation(
        "released",
        Action.RELEASE,
        NOON + 11 * SECOND,
        {"finished": {"state": "FINISHED_STATE_RELEASED"}},
    )
    story.operations["denied"] = make_operation(
        "denied", Action.ADMIT, NOON + 30 * SECOND, {"decision": {"denial": denial()}}
    )
    story.usage["settled"] = Usage(
        org=ORG, call_id="settled", revision=1, total_nanos=45, held_nanos=40, admit_time=NOON
    )
    return story


def make_operation(
    call_id: str, action: Action, at: dt.datetime, facts: dict[str, Any]
) -> Operation:
    return Operation(
        operation_id=f"{action}/{call_id}",
        action=action,
        org=ORG,
        call_id=call_id,
        request={"input": 1},
        kind=Kind.OK,
        facts=facts,
        invoke_ns=ns(at),
        end_ns=ns(at) + 1,
    )


def admission(held: int, at: dt.datetime) -> dict[str, Any]:
    return {
        "held_nanos": str(held),
        "admit_time": at.isoformat(),
        "expire_time": (at + HOLD).isoformat(),
        "replayed": False,
    }


def denial(**fields: Any) -> dict[str, Any]:
    violation = {
        "limit_id": "acme-cost",
        "cap": "100",
        "settled": "75",
        "held": "0",
        "requested": "40",
        "excess": "15",
        "reset_time": (MIDNIGHT + dt.timedelta(days=1)).isoformat(),
    }
    until_midnight = dt.timedelta(hours=12) - 30 * SECOND
    return {
        "violations": [violation | fields],
        "retry_kind": "RETRY_KIND_AT",
        "retry_delay": f"{until_midnight.total_seconds()}s",
    }
