"""Audit entries between the contract and the gateway's own values."""

from __future__ import annotations

from typing import Final

from gateway.admin.open_entries import OUTCOME_UNKNOWN
from gateway.admin.wire_keys import render_time
from gateway.audit_store import ChainRecord
from gateway.store import AuditRecord
from headgate.api.gateway.v1 import admin_pb2 as pb

_STATES: Final = {
    None: pb.AUDIT_STATE_INTENDED,
    True: pb.AUDIT_STATE_DONE,
    False: pb.AUDIT_STATE_FAILED,
}


def render_entry(entry: AuditRecord) -> pb.AuditEntry:
    """Renders an audit entry with its outcome."""
    return pb.AuditEntry(
        audit_id=entry.audit_id,
        create_time=render_time(entry.create_time),
        actor=entry.actor,
        action=entry.action,
        target=entry.target,
        request_json=entry.request_json,
        state=_state(entry),
        error=entry.error,
        reason=entry.reason,
    )


def _state(entry: AuditRecord) -> pb.AuditState.ValueType:
    if entry.done is False and entry.error == OUTCOME_UNKNOWN:
        return pb.AUDIT_STATE_UNKNOWN
    return _STATES[entry.done]


def render_record(record: ChainRecord) -> pb.AuditRecord:
    """Renders a link of the audit log's chain."""
    kind = pb.AUDIT_RECORD_KIND_INTENT if record.is_intent else pb.AUDIT_RECORD_KIND_OUTCOME
    return pb.AuditRecord(
        position=record.position,
        kind=kind,
        audit_id=record.audit_id,
        create_time=render_time(record.create_time),
        actor=record.actor,
        action=record.action,
        target=record.target,
        reason=record.reason,
        request_json=record.request_json,
        done=bool(record.done),
        error=record.error,
        hash=record.hash,
    )
