"""A gateway in memory, for the tests of backends.

    async def test_a_denied_call_shows_the_fallback_text(headgate_gateway):
        headgate_gateway.ledger.cap_nanos = 0
        assert await summarize("some text") == "Please try again later."

It keeps the contract as a real gateway does: ids, holds, denials, receipts, batches, errors with
their details. The same tests run against both (tests/integration/headgate/test_conformance.py).
Prices are flat, and each org has one cap. pytest finds the fixture `headgate_gateway` by itself:
within it every client speaks to the fake, whatever its target.
"""

from __future__ import annotations

from headgate.testing.approvals import Approvals
from headgate.testing.entries import Entry
from headgate.testing.faults import Failure, Faults, Pause
from headgate.testing.gateway import API_KEY, FakeGateway, serve_gateway
from headgate.testing.ledger import Ledger
from headgate.testing.signals import Signal
from headgate.testing.words import INPUT_NANOS, OUTPUT_NANOS

__all__ = [
    "API_KEY",
    "INPUT_NANOS",
    "OUTPUT_NANOS",
    "Approvals",
    "Entry",
    "Failure",
    "FakeGateway",
    "Faults",
    "Ledger",
    "Pause",
    "Signal",
    "serve_gateway",
]
