"""The chain of hashes over the audit log, computed here anew: nobody's word is taken for it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

from headgate.api.gateway.v1 import admin_pb2

_MICROS_PER_SECOND: Final = 1_000_000
_NANOS_PER_MICRO: Final = 1_000


class BrokenChainError(Exception):
    """The audit log is not as it was written. Says where, and what is wrong."""


def verify(records: Iterable[admin_pb2.AuditRecord], *, head: bytes | None = None) -> bytes:
    """Returns the hash of the last record, empty if there is none.

    `head` is a hash that somebody kept: the chain must run through it. Raises BrokenChainError.
    """
    previous, is_head_met = b"", head is None
    for expected, record in enumerate(records, start=1):
        if record.position != expected:
            raise BrokenChainError(f"record {expected} is missing: {record.position} stands there")
        computed = hash_record(record, previous)
        if computed != record.hash:
            raise BrokenChainError(f"record {expected} is not what was written: its hash differs")
        is_head_met = is_head_met or computed == head
        previous = computed
    if not is_head_met:
        raise BrokenChainError(
            "no record has the hash that was kept: the end was cut off, or rewritten"
        )
    return previous


def hash_record(record: admin_pb2.AuditRecord, previous: bytes) -> bytes:
    """Returns the hash of a record after the one before it."""
    if record.kind == admin_pb2.AUDIT_RECORD_KIND_INTENT:
        kind = "intent"
        texts = [record.actor, record.action, record.target, record.reason, record.request_json]
    else:
        kind = "outcome"
        texts = ["done" if record.done else "failed", record.error]
    time = record.create_time
    micros = time.seconds * _MICROS_PER_SECOND + time.nanos // _NANOS_PER_MICRO
    parts = [
        previous,
        record.position.to_bytes(8, "big", signed=True),
        _frame(kind),
        _frame(record.audit_id),
        micros.to_bytes(8, "big", signed=True),
        *map(_frame, texts),
    ]
    return hashlib.sha256(b"".join(parts)).digest()


def _frame(text: str) -> bytes:
    data = text.encode()
    return len(data).to_bytes(4, "big", signed=True) + data
