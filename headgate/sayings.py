"""What Headgate last said of each operation: used when nobody decides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from headgate.decisions import Admission, Denial

if TYPE_CHECKING:
    from headgate.decisions import Decision
    from headgate.errors import RpcError
    from headgate.plan import Plan

K = TypeVar("K")
V = TypeVar("V")

# Operations, and texts in a language, that are remembered.
KNOWN_COUNT_MAX: Final = 1_024
# Bound of the output of a call that nobody decides on, if Headgate never said one.
_OUTPUT_TOKENS: Final = 4_096
# Where an error of the gateway's carries the text of a call that nobody decides on.
_TEXT: Final = "fallback_text"


class Sayings:
    """Remembers fallback texts and bounds of one client."""

    def __init__(self) -> None:
        # By operation and language.
        self._texts: dict[tuple[str, str], str] = {}
        self._bounds: dict[str, int] = {}

    def note(self, plan: Plan, decision: Decision) -> None:
        """Learns from a decision."""
        if isinstance(decision, (Admission, Denial)):
            # One caller's variables must not show up in another's text.
            text = decision.plain_fallback_text if plan.variables else decision.fallback_text
            if text:
                _put(self._texts, (plan.operation, plan.locale), text)
        if isinstance(decision, Admission) and plan.max_output_tokens is None:
            _put(self._bounds, plan.operation, decision.max_output_tokens)

    def text(self, plan: Plan, error: RpcError | None = None) -> str:
        """Returns what to show: the gateway may know the words even if nobody decides."""
        told = error.metadata.get(_TEXT) if error is not None else None
        return told or self._texts.get((plan.operation, plan.locale), plan.fallback_text)

    def bound(self, plan: Plan) -> int:
        """Returns the bound of the output."""
        if plan.max_output_tokens is not None:
            return plan.max_output_tokens
        return self._bounds.get(plan.operation, _OUTPUT_TOKENS)


def _put(known: dict[K, V], key: K, word: V) -> None:
    if key in known or len(known) < KNOWN_COUNT_MAX:
        known[key] = word
