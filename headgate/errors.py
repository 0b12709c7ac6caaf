"""Everything that Headgate raises.

HeadgateError
├── Denied                the call must not go; an answer, not a failure
├── Finished              a call with this id has ended already
├── AllCandidatesFailed   every candidate was tried, or the rest was denied
├── NotServed             no candidate of the route can be asked with this HTTP request
├── NotSent               raised *by* the body of a call that provably never left
├── CallMisused           a method was called at the wrong time
├── ClientClosed          the client takes no more calls
└── RpcError              an RPC failed: `code`, `reason`, `metadata`
    ├── InvalidArgument   the message is wrong: `violations` names the fields
    ├── Unauthenticated   no API key, or one that is unknown or revoked
    ├── PermissionDenied  the key may not do this
    ├── NotFound          no such org, operation or call, for this key at least
    ├── IdReused          the id is known with other fields
    ├── TooLate           reported after the settlement horizon
    ├── Overloaded        Headgate asks to come back later: `retry_delay`
    ├── DeadlineExceeded  no answer in time; whether anything was decided is unknown
    ├── Unavailable       nobody could answer; repeat with the same id
    └── InternalError     a bug of Headgate
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from headgate.decisions import Denial, FinishedCall, Violation


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldViolation:
    """One wrong field and how to mend it."""

    # Path of the field, such as "calls[3].call_id".
    field: str
    description: str


class HeadgateError(Exception):
    """Is the base of everything that Headgate raises."""


class Denied(HeadgateError):
    """The call must not go: `decision` says why and when to try again."""

    def __init__(self, decision: Denial) -> None:
        super().__init__(decision)
        self.decision = decision

    def __str__(self) -> str:
        return f"{self.decision.reason.value}: {self.decision.message}"

    @property
    def fallback_text(self) -> str:
        """Text that may be shown instead of an answer. Empty if the route has none."""
        return self.decision.fallback_text

    @property
    def retry_delay(self) -> timedelta | None:
        """Wait before the same call can be admitted. None: unknown, or waiting does not help."""
        return self.decision.retry_delay

    @property
    def violations(self) -> tuple[Violation, ...]:
        """Every violated limit of every candidate."""
        return self.decision.violations


class Finished(HeadgateError):
    """A call with this id has ended already; it must not go again."""

    def __init__(self, decision: FinishedCall) -> None:
        super().__init__(decision)
        self.decision = decision

    def __str__(self) -> str:
        return f"call {self.decision.call_id} has ended: {self.decision.state.value}"


class AllCandidatesFailed(HeadgateError):
    """No candidate answered. `__cause__` is the last candidate's error."""

    def __init__(
        self, failures: Sequence[Exception], *, fallback_text: str, denial: Denial | None
    ) -> None:
        super().__init__(failures)
        # Each attempt's error, in order. Never empty. The last one is an RpcError if Headgate did
        # not answer when it was asked for the next candidate.
        self.failures = tuple(failures)
        # Text that may be shown instead of an answer. Empty if the route has none.
        self.fallback_text = fallback_text
        # What ended the search. None: as many candidates failed as a call can exclude, or the next
        # one could not be asked for.
        self.denial = denial

    def __str__(self) -> str:
        last = self.failures[-1]
        return f"{len(self.failures)} attempts failed, the last with {type(last).__name__}: {last}"


class NotServed(HeadgateError):
    """No candidate of the route can be asked in the protocol of this HTTP request."""

    def __init__(self, *, fallback_text: str) -> None:
        super().__init__(
            "no candidate of the route speaks this request's protocol at a known address: "
            "give the governed client its `providers`"
        )
        # Text that may be shown instead of an answer. Empty if the route has none.
        self.fallback_text = fallback_text


class NotSent(HeadgateError):
    """Raise it in a call's body if nothing was sent to the provider: the hold is returned."""


class CallMisused(HeadgateError):
    """A call's method was called when it makes no sense: before its start, after its end."""


class ClientClosed(HeadgateError):
    """The client has been closed; it takes no more calls."""


class RpcError(HeadgateError):
    """An RPC, or one member of a batch, failed."""

    def __init__(
        self,
        message: str,
        *,
        code: str,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[FieldViolation] = (),
        retry_delay: timedelta | None = None,
    ) -> None:
        super().__init__(message)
        # Name of the canonical gRPC status, such as "NOT_FOUND".
        self.code = code
        # Stable reason, such as "ORG_NOT_FOUND". Empty if the answer did not come from Headgate.
        self.reason = reason
        # Every dynamic part of the message.
        self.metadata = dict(metadata or {})
        # Wrong fields. Empty unless the code is INVALID_ARGUMENT.
        self.violations = tuple(violations)
        # When to come back. None: not said.
        self.retry_delay = retry_delay

    def __str__(self) -> str:
        fields = "".join(f"; {each.field}: {each.description}" for each in self.violations)
        return f"{self.reason or self.code}: {self.args[0]}{fields}"


class InvalidArgument(RpcError):
    """The message is wrong, whatever the state."""


class Unauthenticated(RpcError):
    """There is no API key, or one that is unknown, revoked or expired."""


class PermissionDenied(RpcError):
    """The key may not do this."""


class NotFound(RpcError):
    """The org, operation, call or other thing does not exist, for this key at least."""


class IdReused(RpcError):
    """The id is known with other fields."""


class TooLate(RpcError):
    """The report came after the settlement horizon."""


class Overloaded(RpcError):
    """Headgate itself is overloaded. Never a tenant's limit."""


class DeadlineExceeded(RpcError):
    """There was no answer in time; whether anything was decided is unknown."""


class Unavailable(RpcError):
    """Nobody could answer. Repeat with the same id."""


class InternalError(RpcError):
    """Headgate has a bug; details are in its own log."""


_TYPES_BY_CODE: Final[Mapping[str, type[RpcError]]] = {
    "INVALID_ARGUMENT": InvalidArgument,
    "UNAUTHENTICATED": Unauthenticated,
    "PERMISSION_DENIED": PermissionDenied,
    "NOT_FOUND": NotFound,
    "RESOURCE_EXHAUSTED": Overloaded,
    "DEADLINE_EXCEEDED": DeadlineExceeded,
    "UNAVAILABLE": Unavailable,
    "INTERNAL": InternalError,
}
# Reasons that tell more than their code does.
_TYPES_BY_REASON: Final[Mapping[str, type[RpcError]]] = {
    "ID_REUSED": IdReused,
    "TOO_LATE": TooLate,
}


def type_of_failure(*, code: str, reason: str) -> type[RpcError]:
    """Returns the exception type for a status. Unknown ones are plain RpcErrors."""
    return _TYPES_BY_REASON.get(reason) or _TYPES_BY_CODE.get(code, RpcError)
