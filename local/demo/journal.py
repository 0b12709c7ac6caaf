"""The client's own record of what it asked and what Headgate acknowledged.

One JSON object a line, written before a request leaves and after its answer came, so that a client
that is killed leaves a true record: everything with an answer here must be durable there.
"""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

from headgate.api.common.v1 import call_pb2
from headgate.api.gateway.v1 import gateway_pb2

# Names of events.
ASKED: Final = "asked"
ADMITTED: Final = "admitted"
NOT_ADMITTED: Final = "not admitted"
REPORTING: Final = "reporting"
BOOKED: Final = "booked"
RELEASED: Final = "released"


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What was booked for one call."""

    total_nanos: int
    cost_basis: int
    replayed: bool


@dataclass(slots=True, kw_only=True)
class Entry:
    """All that one client knows of one call."""

    call_id: str
    org: str = ""
    operation: str = ""
    provider: str = ""
    model: str = ""
    # When it was asked last, by this machine's clock, and how often.
    ask_time: datetime | None = None
    ask_count: int = 0
    held_nanos: int = 0
    admit_time: datetime | None = None
    expire_time: datetime | None = None
    # When the request that was admitted left, by this machine's monotonic clock.
    sent_seconds: float = 0.0
    denied: bool = False
    # The report as it was sent. None: it never was.
    report: gateway_pb2.CompleteCallRequest | None = None
    receipt: Receipt | None = None
    released: bool = False

    @property
    def admitted(self) -> bool:
        """Whether its admission was seen."""
        return self.admit_time is not None

    @property
    def surely_denied(self) -> bool:
        """Whether nothing of it can be held: an unanswered ask may arrive after a denied one."""
        return self.denied and not self.admitted and self.ask_count == 1

    @property
    def cancelled(self) -> bool:
        """Whether it was reported as aborted, with the usage seen so far."""
        report = self.report
        return (
            report is not None
            and report.outcome == call_pb2.CALL_OUTCOME_ABORTED
            and report.HasField("meters")
        )


@dataclass(slots=True, kw_only=True)
class Journal:
    """Writes one client's record. Each line is one write, so a kill leaves whole lines."""

    path: Path
    _file: int = field(init=False)
    # Reports carry the permit only; this finds the call again.
    _calls: dict[bytes, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def asked(self, calls: Iterable[gateway_pb2.AdmitCallRequest]) -> None:
        """Records calls that are about to ask for admission."""
        for call in calls:
            now = time.time_ns() // 1000
            self._write(ASKED, call.call_id, org=call.org, operation=call.operation, ask=now)

    def decided(
        self,
        calls: Iterable[gateway_pb2.AdmitCallRequest],
        decisions: Iterable[gateway_pb2.CallDecision],
        *,
        sent_seconds: float,
    ) -> None:
        """Records the decisions on them."""
        for call, decision in zip(calls, decisions, strict=True):
            kind = decision.WhichOneof("decision")
            if kind != "admission":
                self._write(NOT_ADMITTED, call.call_id, kind=kind)
                continue
            admission = decision.admission
            self._calls[admission.permit] = admission.call_id
            self._write(
                ADMITTED,
                admission.call_id,
                org=admission.org,
                provider=admission.candidate.provider,
                model=admission.candidate.model,
                held=admission.held_nanos,
                admit=admission.admit_time.ToMicroseconds(),
                expire=admission.expire_time.ToMicroseconds(),
                sent=sent_seconds,
            )

    def reporting(self, report: gateway_pb2.CompleteCallRequest) -> str:
        """Records a report that is about to leave; returns its call's id."""
        call_id = report.call_id or self._calls.get(report.permit, "")
        text = base64.b64encode(report.SerializeToString(deterministic=True)).decode()
        self._write(REPORTING, call_id, report=text)
        return call_id

    def booked(self, receipt: gateway_pb2.CallReceipt) -> None:
        """Records what was acknowledged for one of them."""
        self._write(
            BOOKED,
            receipt.call_id,
            total=receipt.total_nanos,
            basis=receipt.cost_basis,
            replayed=receipt.replayed,
        )

    def released(self, finished: gateway_pb2.FinishedCall) -> None:
        """Records that a call has been released, if it was."""
        if finished.state == gateway_pb2.FINISHED_STATE_RELEASED:
            self._write(RELEASED, finished.call_id)

    def _write(self, event: str, call_id: str, **facts: object) -> None:
        line = {"event": event, "call_id": call_id, "time": time.monotonic(), **facts}
        os.write(self._file, json.dumps(line).encode() + b"\n")


def read(paths: Iterable[Path]) -> dict[str, Entry]:
    """Reads journals into one entry for each call, by id."""
    entries: dict[str, Entry] = {}
    for path in paths:
        for line in _lines(path):
            call_id = line["call_id"]
            entry = entries.setdefault(call_id, Entry(call_id=call_id))
            _apply(entry, line)
    return entries


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for text in file:
            yield json.loads(text)


def _apply(entry: Entry, line: dict[str, Any]) -> None:
    match line:
        case {"event": "asked", "org": str(org), "operation": str(operation)}:
            entry.org, entry.operation = org or entry.org, operation
            entry.ask_time = _time(line["ask"])
            entry.ask_count += 1
        case {"event": "not admitted", "kind": kind}:
            entry.denied = kind == "denial"
        case {"event": "admitted", "org": str(org), "provider": str(provider), "held": int(held)}:
            entry.org, entry.held_nanos = org, held
            entry.provider, entry.model = provider, line["model"]
            entry.admit_time = _time(line["admit"])
            entry.expire_time = _time(line["expire"])
            entry.sent_seconds = line["sent"]
        case {"event": "reporting", "report": str(text)}:
            report = gateway_pb2.CompleteCallRequest()
            report.ParseFromString(base64.b64decode(text))
            entry.report = report
        case {"event": "booked", "total": int(total), "basis": int(basis)}:
            receipt = Receipt(total_nanos=total, cost_basis=basis, replayed=bool(line["replayed"]))
            entry.receipt = receipt
        case {"event": "released"}:
            entry.released = True
        case _:
            raise ValueError(f"not a journal line: {line}")


def _time(micros: int) -> datetime:
    seconds, rest = divmod(micros, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)
