"""The rules of accounting: pure functions over plain values. No RPC, database, clock or I/O."""

from __future__ import annotations
