"""On which terms requests are governed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

OnDenied = Literal["raise", "fallback"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a caller says about its requests."""

    # Registered name of what the calls are for. Selects the route.
    operation: str
    # For keys that may act for several orgs. Empty: the client's.
    org: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    # What becomes of a call that can't go: a typed error, or the route's fallback text as an
    # answer of the provider.
    on_denied: OnDenied = "raise"
    # False: only candidates whose model is the request's own are asked.
    rewrite_model: bool = True
    # Upper bound of the input in tokens. None: the bound that the request's body shows.
    input_tokens: int | None = None
    # How long admission may take. None: the client's.
    timeout_seconds: float | None = None
