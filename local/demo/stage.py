"""What the demo sets up before it plays: prices, routes and limits of its own, all named `demo-`.

Prices and routes stay after the demo (they are the same each time); its cap is removed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from headgate.api.common.v1 import call_pb2, limit_pb2, price_pb2
from headgate.api.gateway.v1 import admin_pb2
from local.demo.books import Books
from local.demo.operator import Operator
from local.demo.provider.bill import Price, load_prices
from local.errors import LocalError

ORGS: Final = ("demo-acme", "demo-globex", "demo-initech")
# The org that runs into its cap, and how much it may still spend when the cap is set.
CAPPED_ORG: Final = "demo-initech"
CAP_ROOM_NANOS: Final = 1_000_000
CAP_ID: Final = "demo-cap"
CAP_OWNER: Final = "the demo's finance department"
# What calls hold that give no bound of their output.
DEFAULT_MAX_OUTPUT_TOKENS: Final = 1_024

OPENAI: Final = ("demo-openai", "gpt-4o-mini")
ANTHROPIC: Final = ("demo-anthropic", "claude-haiku")
GOOGLE: Final = ("demo-google", "gemini-flash-lite")
# The provider that has an outage.
FAILING_PROVIDER: Final = OPENAI[0]

# Operation → candidates in order of preference, and seconds until an unreported hold expires.
ROUTES: Final[Mapping[str, tuple[tuple[tuple[str, str], ...], int]]] = {
    "demo-summarize": ((OPENAI, ANTHROPIC), 60),
    "demo-chat": ((OPENAI, GOOGLE, ANTHROPIC), 60),
    "demo-classify": ((GOOGLE, OPENAI), 60),
    # Its callers die without a report, so its holds must expire soon.
    "demo-forget": ((GOOGLE,), 5),
}
KILL_REASON: Final = "the demo shows its kill switch"
FALLBACK_TEXT: Final = "Our assistant is resting. Please try again in a minute."


async def set_up(operator: Operator) -> None:
    """Makes the demo's prices and routes hold, and removes what a killed demo left behind."""
    await _clear(operator)
    prices = load_prices()
    for provider, model in (OPENAI, ANTHROPIC, GOOGLE):
        price = render_price(provider, model, prices[provider, model])
        await operator.put_price(price)
    for operation, (candidates, hold_seconds) in ROUTES.items():
        route = admin_pb2.Route(
            operation=operation,
            candidates=[call_pb2.Candidate(provider=p, model=m) for p, m in candidates],
            default_max_output_token_count=DEFAULT_MAX_OUTPUT_TOKENS,
            fallback_text=FALLBACK_TEXT,
            hold_seconds=hold_seconds,
        )
        await operator.put_route(route)


async def _clear(operator: Operator) -> None:
    await operator.delete_limit(CAP_ID)
    for kill in (await operator.get_status()).kills:
        if kill.reason != KILL_REASON:
            raise LocalError(f"calls are stopped ({kill.reason}); resume them, then try again")
        await operator.resume(KILL_REASON)


async def set_cap(operator: Operator, books: Books, *, room_nanos: int) -> None:
    """Caps the capped org's month so that it may still spend `room_nanos` from now on."""
    used = max(
        (
            amounts.settled + amounts.held
            for window, amounts in books.counters.items()
            if window.org == CAPPED_ORG and (window.end - window.start).days > 1
        ),
        default=0,
    )
    await operator.put_limit(
        limit_pb2.Limit(
            limit_id=CAP_ID,
            scope={"org": CAPPED_ORG},
            metric=limit_pb2.METRIC_COST,
            calendar=limit_pb2.CalendarWindow(period=limit_pb2.CALENDAR_PERIOD_MONTH),
            cap=used + room_nanos,
            owner=CAP_OWNER,
        )
    )


def render_price(provider: str, model: str, price: Price) -> price_pb2.ModelPrice:
    """Returns the stand-in's price as accounting wants it."""
    meters = {
        price_pb2.METER_INPUT: price.input,
        price_pb2.METER_CACHE_READ: price.cached_input,
        price_pb2.METER_OUTPUT: price.output,
        price_pb2.METER_REASONING: price.reasoning,
    }
    return price_pb2.ModelPrice(
        provider=provider,
        model=model,
        meters=[
            price_pb2.MeterPrice(meter=meter, nanos_per_million=nanos)
            for meter, nanos in meters.items()
        ],
    )
