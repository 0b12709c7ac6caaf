"""What the gateway decides on one call, and what it books for it."""

from __future__ import annotations

from dataclasses import dataclass

from chassis.errors import ServiceError
from gateway.domain.calls import Call
from headgate.api.accounting.v1 import accounting_pb2
from headgate.api.admission.v1 import admission_pb2
from headgate.api.common.v1 import call_pb2, denial_pb2
from headgate.api.gateway.v1 import gateway_pb2, permit_pb2


@dataclass(frozen=True, slots=True)
class Fallback:
    """What may be shown instead of an answer."""

    # Empty: nothing.
    text: str
    # The same without the caller's variables. Empty: there are none.
    plain_text: str = ""


# Not frozen: made for every call, and a frozen one takes three times as long to make.
@dataclass(slots=True, kw_only=True)
class Admitted:
    """The call may go."""

    call: Call
    hold: admission_pb2.Hold
    max_output_token_count: int
    # Signed.
    permit: bytes
    # What the backend may show if every attempt fails.
    fallback: Fallback


@dataclass(frozen=True, slots=True, kw_only=True)
class Denied:
    """The call must not go."""

    denial: denial_pb2.Denial


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The call has ended already."""

    call_id: str
    ended: admission_pb2.Ended


Decision = Admitted | Denied | Finished


@dataclass(frozen=True, slots=True, kw_only=True)
class CallName:
    """A call that its caller names: by a permit of ours, or by org and id."""

    org: str
    call_id: str
    # None: the permit was lost.
    permit: permit_pb2.Permit | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How one call ended, as its caller tells it, after it was checked."""

    name: CallName
    outcome: call_pb2.CallOutcome.ValueType
    # The caller's message: its meters, latency and class of error go on unchanged.
    message: gateway_pb2.CompleteCallRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What was booked for one call."""

    call_id: str
    booking: accounting_pb2.Booking


# One member of a batch: an answer, or why there is none.
DecisionOrError = Decision | ServiceError
ReceiptOrError = Receipt | ServiceError
