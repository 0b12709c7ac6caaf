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

from services.accounting.domain.meters import NO_METERS, MeterCounts

# How long after its admission a call can be reported; shorter than anything about it is kept.
HORIZON: Final = dt.timedelta(days=35)
# Greatest amount of one call in nano-US-dollars; sums stay far from the end of int64.
AMOUNT_MAX: Final = 10**18
# Bytes of the digest that tells a repeated report from another one with the same id.
DIGEST_SIZE: Final = 8
# Meters that every report's digest has, reported or not.
_FIRST_METER_COUNT: Final = 6


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
    STATED = 4


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
    # The provider's tier of service that billed it. Empty: the standard one.
    service_tier: str = ""
    # Tokens that were held. None: unknown.
    held_token_count: int | None = None
    # What else the caller said of the call. Empty: nothing.
    team: str = ""
    user: str = ""
    session: str = ""
    feature: str = ""
    # The contract's number. 0: default.
    priority: int = 0
    # True if a person approved the call before it was made.
    approved: bool = False
    # True if the provider may have done the work though its answer did not come in time.
    unanswered: bool = False
    # Provider and model that savings are measured against. None: there is no baseline.
    baseline: tuple[str, str] | None = None
    # Nano-US-dollars that an identical call saved it. None: it was made itself.
    saved_nanos: int | None = None

    def digest(self) -> bytes:
        """Digest of what the completing caller says and every way of completing knows.

        Labels, API key, parent and the like are left out: they come from the permit, and a
        completion that lost its permit is still the same report. What a report of before had not
        is added only where it is there: a repeated one keeps its digest.
        """
        canonical = [
            self.operation,
            self.provider,
            self.model,
            self.price_version,
            self.held_nanos,
            self.outcome.value,
            list(self.meters[:_FIRST_METER_COUNT]),
            self.latency_ms,
            self.error_type,
        ]
        if any(count is not None for count in self.meters[_FIRST_METER_COUNT:]):
            canonical.append(list(self.meters[_FIRST_METER_COUNT:]))
        if self.service_tier:
            canonical.append(self.service_tier)
        if self.approved:
            canonical.append("approved")
        if self.unanswered:
            canonical.append("unanswered")
        if self.saved_nanos is not None:
            canonical.append(["saved", self.saved_nanos])
        text = json.dumps(canonical, separators=(",", ":"))
        return hashlib.sha256(text.encode()).digest()[:DIGEST_SIZE]


class Charge(NamedTuple):
    """What a call costs."""

    total_nanos: int
    basis: CostBasis
    # True if usage was reported for which the price book has no price: charged at the hold, or at
    # what has a price if that is more.
    unpriced: bool = False


@dataclass(slots=True)
class Entry:
    """A report with its charge, ready for the log."""

    report: Report
    charge: Charge
    digest: bytes
    # What it would have cost with the baseline's model. None: there is no baseline.
    baseline_nanos: int | None = None


@dataclass(slots=True)
class Booking:
    """What stands in the log for one attempt."""

    total_nanos: int
    basis: CostBasis
    revision: int
    # True if this Record wrote it, false if an earlier one had.
    first: bool
    # Tokens of all kinds. None: no meter of tokens was reported.
    token_count: int | None = None


class Refusal(enum.IntEnum):
    """Why an entry was not booked; the numbers are those that `book_calls` returns."""

    # The attempt is booked with another payload.
    ID_REUSED = 3
    # Admitted before the settlement horizon.
    TOO_LATE = 4
    # Admitted in the future, by more than clocks may differ.
    IN_FUTURE = 5
    # The database refused the data of this entry alone.
    DATA_ERROR = 6


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
    # Tokens of all kinds at that revision. None: unknown.
    token_count: int | None = None
