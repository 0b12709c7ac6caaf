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


class Chain:
    """The chain as far as it was looked at."""

    def __init__(self, head: bytes | None = None) -> None:
        """`head` is a hash that somebody kept: the chain must run through it."""
        self._head = head
        self._is_head_met = head is None
        self.count = 0
        # Of the last record; empty if there was none.
        self.last = b""

    def take(self, record: admin_pb2.AuditRecord) -> None:
        """Looks at the next record. Raises BrokenChainError."""
        expected = self.count + 1
        if record.position != expected:
            raise BrokenChainError(f"record {expected} is missing: {record.position} stands there")
        computed = hash_record(record, self.last)
        if computed != record.hash:
            raise BrokenChainError(f"record {expected} is not what was written: its hash differs")
        self._is_head_met = self._is_head_met or computed == self._head
        self.count, self.last = expected, computed

    def end(self) -> None:
        """Says that there are no more. Raises BrokenChainError."""
        if not self._is_head_met:
            raise BrokenChainError(
                "no record has the hash that was kept: the end was cut off, or rewritten"
            )


def verify(records: Iterable[admin_pb2.AuditRecord], *, head: bytes | None = None) -> bytes:
    """Returns the hash of the last record, empty if there is none. Raises BrokenChainError."""
    chain = Chain(head)
    for record in records:
        chain.take(record)
    chain.end()
    return chain.last


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
