"""What a caller says about one call, after it was checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One way to serve a call."""

    provider: str
    model: str

    def __str__(self) -> str:
        return f"{self.provider}/{self.model}"


# Not frozen: made for every call, and a frozen one takes three times as long to make.
@dataclass(slots=True, kw_only=True)
class Call:
    """One call that wants to start. Its org is one that the key may act for."""

    org: str
    # Canonical lower-case UUID.
    call_id: str
    # Public part of the key that asks.
    api_key_id: str
    operation: str
    # Canonical lower-case UUID. Empty: this is the first attempt.
    parent_call_id: str
    excluded_candidates: tuple[Candidate, ...]
    input_token_count: int
    input_byte_count: int
    # None: the route's default.
    max_output_token_count: int | None
    labels: Mapping[str, str]
    # What limits and fences can tell it by besides, by dimension: team, user, session, ip,
    # feature. Only those that were given.
    dimensions: Mapping[str, str]
    # Number of the contract's priority. 0: the default one.
    priority: int
    # The org's credential with the providers: the org, or "org/name" if the caller names one.
    credential: str
    # Language of whoever reads the fallback text. Empty: the template's own.
    locale: str = ""
    # Values for the fallback text.
    variables: Mapping[str, str] = field(default_factory=dict)
    # Upper bounds of what is not tokens, by their names in the contract: those that were given.
    unit_bounds: Mapping[str, int] = field(default_factory=dict)
    # The leave that it shows, a canonical lower-case UUID. Empty: none.
    approval_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where calls of one operation may go, and what holds for all of them."""

    operation: str
    # In order of preference, all different.
    candidates: tuple[Candidate, ...]
    default_max_output_token_count: int
    # Empty: the route has none.
    fallback_text: str
    hold_seconds: int
    # Name of the template whose text is taken instead. Empty: none.
    fallback_template: str = ""
    # Shares of the users that begin with each candidate, in their order. Empty: all begin with the
    # first.
    weights: tuple[int, ...] = ()
    tags: tuple[str, ...] = ()
    # What savings are counted against. None: nothing.
    baseline: Candidate | None = None
    # What is held of what calls hardly ever exceed, in percent. 0: the worst case is held.
    adaptive_percent: int = 0
    # Each call needs a person's leave.
    approval_required: bool = False
    # Calls that may cost more do, in nano-US-dollars. 0: there is no such bound.
    approval_threshold_nanos: int = 0
    # Identical calls that are under way at once may share one answer.
    coalesces: bool = False
