"""The rules of admission: pure functions over plain values. No RPC, database, clock or I/O."""

from __future__ import annotations
