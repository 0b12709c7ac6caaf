"""Admission: may this call go, and what does it hold.

Its promises, each with the tests that hold it to them (under tests/):

1. No cap is overspent: settled + held <= greatest cap + overrun on every counter, in every
   snapshot, over any number of replicas (guarantees/test_caps.py).
2. Equal calls of cost x against an idle cap admit exactly cap // x (guarantees/test_caps.py).
3. A call holds on all its limits or on none; a denial changes nothing
   (unit/admission/test_ledger.py).
4. Each counter equals its reservations, always (integration/admission/test_books.py).
5. A reservation ends once, under any interleaving (integration/admission/test_interleavings.py).
6. No hold outlives its time by more than one sweep, and none is freed before
   (integration/admission/test_sweeper.py).
7. An id has one effect: replays get the stored hold, other fields are refused
   (integration/admission/test_idempotency.py).
8. When a fence's RPC has returned, nothing is admitted in its scope
   (integration/admission/test_fences.py).
9. Every booked report is applied, whatever crashed before (integration/admission/test_feed.py).
"""

from __future__ import annotations
