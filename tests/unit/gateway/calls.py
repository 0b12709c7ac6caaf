"""Values that the gateway's unit tests share."""

from __future__ import annotations

from typing import Any, Final

from gateway.domain.calls import Call, Candidate, Route
from gateway.principals import Principal, Role, grant_all

CALL_ID: Final = "01890a5d-ac96-774b-bcce-b302099a8057"
OTHER_ID: Final = "01890a5d-ac96-774b-bcce-b302099a8058"
OPENAI: Final = Candidate(provider="openai", model="gpt-4o-mini")
ANTHROPIC: Final = Candidate(provider="anthropic", model="claude-haiku-4-5")
GOOGLE: Final = Candidate(provider="google", model="gemini-2.5-flash")
ROUTE: Final = Route(
    operation="summarize",
    candidates=(OPENAI, ANTHROPIC),
    default_max_output_token_count=1_000,
    fallback_text="Later, please.",
    hold_seconds=60,
)
ACME: Final = Principal(actor="k_acme", grants=grant_all(Role.BACKEND, ("acme",)))
BOTH: Final = Principal(actor="k_both", grants=grant_all(Role.BACKEND, ("acme", "globex")))


def make_call(**values: Any) -> Call:
    defaults: dict[str, Any] = {
        "org": "acme",
        "call_id": CALL_ID,
        "api_key_id": "k_acme",
        "operation": "summarize",
        "parent_call_id": "",
        "excluded_candidates": (),
        "input_token_count": 900,
        "input_byte_count": 0,
        "max_output_token_count": 300,
        "labels": {},
        "dimensions": {},
        "priority": 0,
        "credential": "acme",
    }
    return Call(**defaults | values)
