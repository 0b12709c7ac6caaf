"""Types of events about money: limits, usage, prices, bills."""

from __future__ import annotations

from typing import Final

from services.accounting.domain.event_types import EventType, Fact, Severity

_LIMIT: Final = {
    "limit_id": "the limit",
    "scope": 'values of the limit\'s dimensions, such as `{"org": "acme"}`',
    "metric": "what it counts: `calls`, `tokens`, `cost`",
    "start_time": "first instant of the period, RFC 3339; null: it has none",
    "end_time": "first instant after it, RFC 3339; null: it has none",
    "owner": "whom a denied caller should ask",
}
_LIMIT_EXAMPLE: Final[dict[str, Fact]] = {
    "limit_id": "acme-monthly",
    "scope": {"org": "acme"},
    "metric": "cost",
    "start_time": "2026-11-01T00:00:00Z",
    "end_time": "2026-12-01T00:00:00Z",
    "owner": "ann@example.com",
}
_THRESHOLD: Final = _LIMIT | {
    "threshold_percent": "the threshold, in percent of the cap",
    "settled": "what ended calls had used then, in the metric's unit (cost: nano-US-dollars)",
    "cap": "the cap then, in the same unit",
}
_THRESHOLD_EXAMPLE: Final[dict[str, Fact]] = {
    **_LIMIT_EXAMPLE,
    "threshold_percent": 80,
    "settled": 200_100_000_000,
    "cap": 250_000_000_000,
}
_ANOMALY: Final = {
    "operation": "the operation",
    "day": "the day in UTC, YYYY-MM-DD",
    "usual_day_count": "days of the trailing week that had been counted",
}
_ANOMALY_EXAMPLE: Final[dict[str, Fact]] = {
    "operation": "summarize",
    "day": "2026-11-26",
    "usual_day_count": 7,
}
_CALLS: Final = {
    "operation": "the operation; empty: several",
    "provider": "the provider",
    "model": "the model",
    "call_count": "calls since the last event of this kind",
    "cost_nanos": "what they were charged, in nano-US-dollars",
}
_CALLS_EXAMPLE: Final[dict[str, Fact]] = {
    "operation": "summarize",
    "provider": "openai",
    "model": "gpt-9",
    "call_count": 12,
    "cost_nanos": 84_000_000,
}

MONEY_EVENTS: Final = (
    EventType(
        name="cost.budget.warning",
        version=1,
        severity=Severity.WARNING,
        meaning="What a limit's ended calls have used crossed a threshold below its cap, for the "
        "first time in this period. Once for each limit, threshold and period.",
        facts=_THRESHOLD,
        example=_THRESHOLD_EXAMPLE,
    ),
    EventType(
        name="cost.budget.exceeded",
        version=1,
        severity=Severity.CRITICAL,
        meaning="What a limit's ended calls have used reached its cap, for the first time in this "
        "period. Once for each limit, threshold and period.",
        facts=_THRESHOLD,
        example=_THRESHOLD_EXAMPLE | {"threshold_percent": 100, "settled": 250_000_000_000},
    ),
    EventType(
        name="cost.budget.exhausted",
        version=1,
        severity=Severity.CRITICAL,
        meaning="A budget denies calls because nothing, or too little, is left of it.",
        facts={
            "limit_id": "the limit",
            "denial_count": "calls that it denied in the last ten minutes",
            "requested_nanos": "what they asked to hold",
            "owner": "whom a denied caller should ask",
        },
        example={
            "limit_id": "acme-monthly",
            "denial_count": 31,
            "requested_nanos": 84_000_000,
            "owner": "ann@example.com",
        },
    ),
    EventType(
        name="cost.forecast.high",
        version=1,
        severity=Severity.WARNING,
        meaning="At the present pace a budget will not last until its period ends. Once for each "
        "counter and period.",
        facts={
            "limit_id": "the limit",
            "scope": "values of the limit's dimensions",
            "start_time": "first instant of the period, RFC 3339",
            "end_time": "first instant after it, RFC 3339",
            "spent_nanos": "spent so far",
            "expected_nanos": "spent at the end of the period, most likely",
            "low_nanos": "in one of ten cases less",
            "high_nanos": "in one of ten cases more",
            "cap": "the cap, in nano-US-dollars",
            "exhaustion_time": "when the cap will be reached, most likely, RFC 3339",
        },
        example={
            "limit_id": "acme-monthly",
            "scope": {"org": "acme"},
            "start_time": "2026-11-01T00:00:00Z",
            "end_time": "2026-12-01T00:00:00Z",
            "spent_nanos": 130_000_000_000,
            "expected_nanos": 310_000_000_000,
            "low_nanos": 290_000_000_000,
            "high_nanos": 342_000_000_000,
            "cap": 250_000_000_000,
            "exhaustion_time": "2026-11-24T15:00:00Z",
        },
    ),
    EventType(
        name="cost.overrun",
        version=1,
        severity=Severity.WARNING,
        meaning="Calls cost more than was held for them: their declared bounds were wrong.",
        facts=_CALLS | {"overrun_nanos": "what they cost beyond their holds"},
        example=_CALLS_EXAMPLE | {"overrun_nanos": 3_000_000},
    ),
    EventType(
        name="cost.anomaly.spend",
        version=1,
        severity=Severity.WARNING,
        meaning="An org has spent at least twice as much on an operation today as on a usual day "
        "of the trailing week. Once a day.",
        facts=_ANOMALY
        | {
            "cost_nanos": "spent today so far",
            "usual_cost_nanos": "spent on a usual day",
        },
        example=_ANOMALY_EXAMPLE
        | {"cost_nanos": 41_000_000_000, "usual_cost_nanos": 12_500_000_000},
    ),
    EventType(
        name="cost.anomaly.calls",
        version=1,
        severity=Severity.WARNING,
        meaning="An org has made at least three times as many calls of an operation today as on a "
        "usual day of the trailing week. Once a day.",
        facts=_ANOMALY
        | {"call_count": "calls today so far", "usual_call_count": "calls on a usual day"},
        example=_ANOMALY_EXAMPLE | {"call_count": 4_100, "usual_call_count": 800},
    ),
    EventType(
        name="usage.unpriced",
        version=1,
        severity=Severity.CRITICAL,
        meaning="Calls reported usage that has no price; they were charged at their holds.",
        facts=_CALLS,
        example=_CALLS_EXAMPLE,
    ),
    EventType(
        name="usage.unreported",
        version=1,
        severity=Severity.INFO,
        meaning="Calls ended without a report of what they used: charged at their holds.",
        facts=_CALLS,
        example=_CALLS_EXAMPLE,
    ),
    EventType(
        name="model.switched",
        version=1,
        severity=Severity.INFO,
        meaning="Calls failed and were made again with another model of their route. One that is "
        "not even tried, because its breaker is open or it fits no budget, is not told here.",
        facts={
            "operation": "the operation",
            "from_provider": "the provider that failed",
            "from_model": "the model that failed",
            "provider": "the provider that they went to",
            "model": "the model that they went to",
            "call_count": "calls since the last event of this kind",
        },
        example={
            "operation": "summarize",
            "from_provider": "openai",
            "from_model": "gpt-9",
            "provider": "anthropic",
            "model": "claude-9",
            "call_count": 12,
        },
    ),
    EventType(
        name="prices.refused",
        version=1,
        severity=Severity.WARNING,
        meaning="Prices were refused because they are wrong. The last good ones stay in force: an "
        "import is refused as a whole, of a release's catalogue the models that are wrong.",
        facts={
            "source": "where they come from: `catalogue` or `import`",
            "refused_count": "prices that are wrong",
            "error": "what is wrong with the first of them",
        },
        example={
            "source": "import",
            "refused_count": 2,
            "error": "prices[1].meters[0].nanos_per_million: must be from 0",
        },
    ),
    EventType(
        name="bill.deviates",
        version=1,
        severity=Severity.WARNING,
        meaning="A provider's bill differs from the books by more than is all right.",
        facts={
            "provider": "the provider",
            "first_day": "of the bill, YYYY-MM-DD",
            "last_day": "of the bill",
            "billed_nanos": "what the provider bills",
            "booked_nanos": "what is booked",
            "difference_nanos": "booked less billed",
        },
        example={
            "provider": "openai",
            "first_day": "2026-10-01",
            "last_day": "2026-10-31",
            "billed_nanos": 830_000_000_000,
            "booked_nanos": 801_000_000_000,
            "difference_nanos": -29_000_000_000,
        },
    ),
    EventType(
        name="period.closed",
        version=1,
        severity=Severity.INFO,
        meaning="A month's statement is final: what is booked for it later goes to the next one.",
        facts={
            "period": "the month, YYYY-MM",
            "cost_nanos": "what it charges, corrections of earlier months included",
            "correction_nanos": "the part that corrects earlier months",
            "call_count": "calls that it charges",
        },
        example={
            "period": "2026-10",
            "cost_nanos": 812_345_678_901,
            "correction_nanos": -1_200_000,
            "call_count": 182_004,
        },
    ),
)
