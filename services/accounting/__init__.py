"""Accounting: what did each call cost.

Its promises, each with the tests that hold it to them (under tests/):

1. An attempt is booked once, over any replicas, concurrently, twice in one batch and after
   midnight; with another payload it is refused (integration/accounting/test_idempotency.py).
2. The rollups of hours, days, dimensions and platform are the sums of the usage log, always: with
   duplicates, refused members and killed connections (integration/accounting/test_sums.py); an
   org's distinct values of a dimension are bounded (integration/accounting/test_dimensions.py).
3. The settlement feed gives every booked revision, also if transactions commit out of order
   (integration/accounting/test_feed.py).
4. A call is priced at the version of the price book that it was admitted at, each meter by
   itself, in whole nano-US-dollars (unit/accounting/test_pricing.py,
   integration/accounting/test_prices.py).
5. What cannot be priced is charged at its hold and marked, never booked as free
   (unit/accounting/test_pricing.py).
6. A wrong member of a batch fails by itself and names its field; the others are booked
   (integration/accounting/test_bad_input.py).
7. What is acknowledged is durable; what is not can be repeated
   (integration/accounting/test_faults.py).
   Corrections, pricing the past again included, are revisions that sums and feed follow, and what
   is done twice counts once (integration/accounting/test_books.py); an export is the books
   (integration/accounting/test_exports.py).
8. Every job is harmless when run twice or never; what verification repairs it reports
   (integration/accounting/test_jobs.py).
9. The server's own role can change rows, not tables (integration/accounting/test_schema.py).
10. A condition that lasts is one alert, whoever notices it; its event is written with it, or
    neither is (integration/accounting/test_alerts.py).
11. Each event reaches each channel that wants it at least once, whoever dies on the way and
    however long the channel fails (integration/accounting/test_delivery.py,
    integration/accounting/test_receivers.py, integration/accounting/test_mail.py).
12. A forecast's interval of 80 % holds in 70 to 90 of 100 cases, and it is nearer than last week
    would be (unit/accounting/test_forecasts.py).
13. Nobody who may set a channel reaches what only our servers can reach
    (unit/accounting/test_addresses.py, integration/accounting/test_receivers.py).
14. What a channel keeps secret is stored sealed, and leaves in no answer
    (integration/accounting/test_channels.py).
"""

from __future__ import annotations
