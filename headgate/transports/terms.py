"""On which terms requests are governed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from headgate.options import CallOptions

if TYPE_CHECKING:
    from typing_extensions import Unpack

# What becomes of a call that can't go: a typed error, or the route's fallback text as if the
# provider had said it.
OnRefused = Literal["raise", "fallback"]
# What becomes of a request that is none of the governed ones and may cost.
OnUnknown = Literal["refuse", "pass"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a caller says about its requests."""

    # Registered name of what the calls are for. Selects the route.
    operation: str
    options: CallOptions = field(default_factory=CallOptions)
    on_refused: OnRefused = "raise"
    on_unknown: OnUnknown = "refuse"
    # False: only candidates whose model is the request's own are asked.
    rewrite_model: bool = True

    def current(self) -> Terms:
        """Returns the terms as `governing` changes them here."""
        changes = _changes.get()
        if changes is None:
            return self
        options = _mix(self.options, changes.options)
        return replace(self, operation=changes.operation or self.operation, options=options)


@dataclass(frozen=True, slots=True)
class _Changes:
    operation: str
    options: Mapping[str, Any]


_changes: Final[ContextVar[_Changes | None]] = ContextVar("headgate_terms", default=None)


@contextlib.contextmanager
def governing(operation: str = "", **options: Unpack[CallOptions]) -> Iterator[None]:
    """Changes the terms of the governed requests that the running task or thread makes inside.

    What is not said stays as it is; labels and variables are added. `input_tokens` bounds the
    input of each of the requests, and `max_units` what is not tokens, for what a body does not
    show, such as a file that the provider has stored.
    """
    before = _changes.get() or _Changes("", {})
    changes = _Changes(operation or before.operation, _mix(before.options, options))
    token = _changes.set(changes)
    try:
        yield
    finally:
        _changes.reset(token)


def _mix(first: Mapping[str, Any], then: Mapping[str, Any]) -> CallOptions:
    mixed: dict[str, Any] = {**first, **then}
    for name in ("labels", "variables"):
        if name in first and name in then:
            mixed[name] = {**first[name], **then[name]}
    return mixed  # type: ignore[return-value] # both have its keys only
