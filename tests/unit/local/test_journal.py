"""The client's record: what it reads back is what was asked, answered and acknowledged."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from headgate.api.common.v1 import call_pb2, denial_pb2
from headgate.api.gateway.v1 import gateway_pb2 as pb
from local.demo.journal import Entry, Journal, Receipt, read

ADMIT_TIME = datetime(2026, 11, 21, 12, 30, 15, 123456, tzinfo=UTC)
BASIS = call_pb2.COST_BASIS_METERS
METERS = call_pb2.UsageMeters(input_token_count=5)


def admission(call_id: str) -> pb.CallDecision:
    granted = pb.Admission(
        call_id=call_id,
        org="acme",
        candidate=call_pb2.Candidate(provider="p", model="m"),
        held_nanos=70,
        permit=f"permit of {call_id}".encode(),
    )
    granted.admit_time.FromDatetime(ADMIT_TIME)
    return pb.CallDecision(admission=granted)


def ask(journal: Journal, call_id: str, decision: pb.CallDecision | None = None) -> None:
    request = pb.AdmitCallRequest(call_id=call_id, org="acme", operation="chat")
    journal.asked([request])
    if decision is not None:
        journal.decided([request], [decision], sent_seconds=12.5)


def report(call_id: str, outcome: call_pb2.CallOutcome.ValueType) -> pb.CompleteCallRequest:
    return pb.CompleteCallRequest(
        permit=f"permit of {call_id}".encode(), outcome=outcome, meters=METERS
    )


def entry_of(path: Path, call_id: str = "a") -> Entry:
    return read([path])[call_id]


def test_an_admitted_and_reported_call_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    sent = report("a", call_pb2.CALL_OUTCOME_SUCCEEDED)
    with Journal(path=path) as journal:
        ask(journal, "a", admission("a"))
        call_id = journal.reporting(sent)
        journal.booked(pb.CallReceipt(call_id="a", total_nanos=9, cost_basis=BASIS, replayed=True))
    entry = entry_of(path)

    assert call_id == "a"
    assert (entry.org, entry.operation, entry.held_nanos) == ("acme", "chat", 70)
    assert (entry.provider, entry.model) == ("p", "m")
    assert (entry.admit_time, entry.sent_seconds) == (ADMIT_TIME, 12.5)
    assert entry.report == sent
    assert entry.receipt == Receipt(total_nanos=9, cost_basis=BASIS, replayed=True)
    assert entry.admitted
    assert not entry.released


def test_journals_of_several_processes_are_read_as_one(tmp_path: Path) -> None:
    for call_id in ("a", "b"):
        with Journal(path=tmp_path / call_id) as journal:
            ask(journal, call_id, admission(call_id))

    assert set(read([tmp_path / "a", tmp_path / "b"])) == {"a", "b"}


def test_a_call_that_got_no_answer_may_have_been_admitted(tmp_path: Path) -> None:
    with Journal(path=tmp_path / "journal") as journal:
        ask(journal, "a")
    entry = entry_of(tmp_path / "journal")

    assert not entry.admitted
    assert not entry.surely_denied


def test_only_a_call_that_was_asked_once_and_denied_is_surely_denied(tmp_path: Path) -> None:
    denial = pb.CallDecision(denial=denial_pb2.Denial())
    with Journal(path=tmp_path / "journal") as journal:
        ask(journal, "once", denial)
        ask(journal, "twice")
        ask(journal, "twice", denial)
        ask(journal, "failed", pb.CallDecision(error=call_pb2.CallError(code=14)))
    entries = read([tmp_path / "journal"])

    assert {name for name, entry in entries.items() if entry.surely_denied} == {"once"}


def test_a_release_counts_only_if_the_call_ended_so(tmp_path: Path) -> None:
    with Journal(path=tmp_path / "journal") as journal:
        for call_id, state in (
            ("a", pb.FINISHED_STATE_RELEASED),
            ("b", pb.FINISHED_STATE_EXPIRED),
        ):
            ask(journal, call_id, admission(call_id))
            journal.released(pb.FinishedCall(call_id=call_id, state=state))
    entries = read([tmp_path / "journal"])

    assert (entries["a"].released, entries["b"].released) == (True, False)


@pytest.mark.parametrize(
    ("outcome", "with_meters", "cancelled"),
    [
        (call_pb2.CALL_OUTCOME_ABORTED, True, True),
        (call_pb2.CALL_OUTCOME_ABORTED, False, False),
        (call_pb2.CALL_OUTCOME_SUCCEEDED, True, False),
    ],
)
def test_a_cancelled_call_is_one_that_was_aborted_with_usage(
    tmp_path: Path,
    outcome: call_pb2.CallOutcome.ValueType,
    with_meters: bool,
    cancelled: bool,
) -> None:
    sent = report("a", outcome)
    if not with_meters:
        sent.ClearField("meters")
    with Journal(path=tmp_path / "journal") as journal:
        ask(journal, "a", admission("a"))
        journal.reporting(sent)

    assert entry_of(tmp_path / "journal").cancelled is cancelled


def test_a_line_that_is_none_of_ours_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_text('{"event": "gossip", "call_id": "a"}\n')

    with pytest.raises(ValueError, match="not a journal line"):
        read([path])
