"""One call's usage: what is reported, what is booked, and what sums of bookings are.

Reports and charges are made for every call, so they are plain slotted classes.
"""

from __future__ import annotations

import datetime as dt
import enum
import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

# How long after its admission a call can be reported; shorter than anything about it is kept.
HORIZON: Final = dt.timedelta(days=35)
# Greatest amount of one call in nano-US-dollars; sums stay far from the end of int64.
AMOUNT_MAX: Final = 10**18
# No call moves a billion tokens; bounded so that a day's sums of a meter fit int64.
TOKEN_COUNT_MAX: Final = 10**9
# Bytes of the digest that tells a repeated report from another one with the same id.
DIGEST_SIZE: Final = 16


class Outcome(enum.IntEnum):
    """How a call ended; the numbers are those of the contract and the schema."""

    SUCCEEDED = 1
    PROVIDER_FAILED = 2
    REJECTED = 3
    ABORTED = 4
    THROTTLED = 5


class CostBasis(enum.IntEnum):
    """What a booked cost was computed from; the numbers are the contract's and the schema's."""

    METERS = 1
    HOLD = 2
    NONE = 3


class Meter(enum.IntEnum):
    """What is metered; the numbers are the contract's. Meters are disjoint."""

    INPUT = 1
    CACHE_READ = 2
    CACHE_WRITE_5M = 3
    CACHE_WRITE_1H = 4
    OUTPUT = 5
    REASONING = 6


class MeterCounts(NamedTuple):
    """Units of each meter, in the order of `Meter`. None: not reported, which is not zero."""

    input: int | None = None
    cache_read: int | None = None
    cache_write_5m: int | None = None
    cache_write_1h: int | None = None
    output: int | None = None
    reasoning: int | None = None

    @property
    def reported(self) -> bool:
        """Whether at least one meter was reported, be it as zero."""
        return any(count is not None for count in self)

    @property
    def input_total(self) -> int:
        """Input tokens of all kinds: what a price tier's threshold is compared with."""
        return sum(count or 0 for count in self[:4])


NO_METERS: Final = MeterCounts()


@dataclass(slots=True, kw_only=True)
class Report:
    """One attempt that ended, with the facts of its admission."""

    org: str
    call_id: uuid.UUID
    operation: str
    provider: str
    model: str
    # When it was admitted, to the microsecond; decides the partition and the day.
    admit_time: dt.datetime
    # Version of the price book that prices it.
    price_version: int
    # Nano-US-dollars that were held; charged if no usage was reported.
    held_nanos: int
    outcome: Outcome
    meters: MeterCounts = NO_METERS
    parent_call_id: uuid.UUID | None = None
    api_key_id: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    # From sending to the last byte. None: unknown.
    latency_ms: int | None = None
    error_type: str = ""

    def digest(self) -> bytes:
        """Digest of what the completing caller says and every way of completing knows.

        Labels, API key and parent are left out: they come from the permit, and a completion that
        lost its permit is still the same report.
        """
        canonical = [
            self.operation,
            self.provider,
            self.model,
            self.price_version,
            self.held_nanos,
            self.outcome.value,
            list(self.meters),
            self.latency_ms,
            self.error_type,
        ]
        text = json.dumps(canonical, separators=(",", ":"))
        return hashlib.sha256(text.encode()).digest()[:DIGEST_SIZE]


class Charge(NamedTuple):
    """What a call costs."""

    total_nanos: int
    basis: CostBasis
    # True if usage was reported for which the price book has no price: charged at the hold.
    unpriced: bool = False


@dataclass(slots=True)
class Entry:
    """A report with its charge, ready for the log."""

    report: Report
    charge: Charge
    digest: bytes


@dataclass(slots=True)
class Booking:
    """What stands in the log for one attempt."""

    total_nanos: int
    basis: CostBasis
    revision: int
    # True if this Record wrote it, false if an earlier one had.
    first: bool


class Refusal(enum.IntEnum):
    """Why an entry was not booked; the numbers are those that `record_usage` returns."""

    # The attempt is booked with another payload.
    ID_REUSED = 3
    # Admitted before the settlement horizon.
    TOO_LATE = 4
    # Admitted in the future, by more than clocks may differ.
    IN_FUTURE = 5
    # The database refused the data of this entry alone.
    DATA_ERROR = 6


@dataclass(slots=True)
class UsageSums:
    """Sums over bookings that share the values of the grouped dimensions.

    A dimension that is not grouped by is empty.
    """

    day: dt.date | None
    org: str
    operation: str
    provider: str
    model: str
    call_count: int
    failed_count: int
    unreported_count: int
    cost_nanos: int
    unreported_cost_nanos: int
    # Sums of the meters, in the order of `Meter`.
    meters: tuple[int, int, int, int, int, int]


class Dimension(enum.IntEnum):
    """What usage can be grouped by; the numbers are the contract's."""

    DAY = 1
    ORG = 2
    OPERATION = 3
    PROVIDER = 4
    MODEL = 5


class Source(enum.IntEnum):
    """Which table answers a usage query; the numbers are the contract's."""

    LOG = 1
    ROLLUP = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageQuery:
    """Asks for sums of usage."""

    # First day of admission in UTC.
    start_day: dt.date
    # Last day, inclusive.
    end_day: dt.date
    # Only this org. Empty: all.
    org: str
    group_by: frozenset[Dimension]
    source: Source

    @property
    def platform_only(self) -> bool:
        """Whether the platform's own rollup can answer."""
        return not self.org and self.group_by <= {Dimension.DAY}


class FeedPosition(NamedTuple):
    """Where a reader of the settlement feed stands: transaction, then row within it."""

    transaction_id: int
    row_id: int


FEED_START: Final = FeedPosition(0, 0)


class Settlement(NamedTuple):
    """One booked revision, as the settlement feed gives it."""

    position: FeedPosition
    org: str
    call_id: uuid.UUID
    revision: int
    total_nanos: int
