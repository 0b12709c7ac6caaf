"""What may be said about a client, its callers and their calls: once, for both faces."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, TypedDict

from headgate.decisions import Candidate

if TYPE_CHECKING:
    import grpc.aio

    from headgate.channel import Tls
    from headgate.incidents import Incident

OnDenied = Literal["raise", "return"]
OnUnreachable = Literal["deny", "allow", "raise"]
Reports = Literal["wait", "background"]


class Priority(enum.Enum):
    """How important a call is when room is short."""

    CRITICAL = "CRITICAL"
    DEFAULT = "DEFAULT"
    SHEDDABLE = "SHEDDABLE"


class ClientOptions(TypedDict, total=False):
    """What a client may be told besides its target; see `headgate.Client`."""

    # Empty: HEADGATE_API_KEY.
    api_key: str
    # For keys that may act for several orgs.
    org: str
    # Transport security. Without it, this machine is reached in plain text and all others by TLS
    # with the system's authorities.
    tls: Tls | None
    # Plain text everywhere.
    insecure: bool
    # How long a decision may take.
    admission_timeout_seconds: float
    # How long a report is repeated. Unset: 10 seconds if its caller waits for it, else 10 minutes.
    report_timeout_seconds: float | None
    # Whether leaving a call waits until its end is booked, or leaves that to the background.
    reports: Reports
    # What becomes of a call that nobody decides on in time: denied with the fallback text, let
    # through and counted, or the RPC's error is raised.
    on_unreachable: OnUnreachable
    # Told of each incident: see `headgate.Incident`.
    on_incident: Callable[[Incident], None] | None
    # Replaces how a channel is made.
    open_channel: Callable[[], grpc.aio.Channel] | None


class CallerOptions(TypedDict, total=False):
    """Who calls, and on which terms; `for_user` keeps them for many calls."""

    # For keys that may act for several orgs. Unset: the client's.
    org: str
    # Dimensions that limits and fences can tell calls apart by: team within the org, session (an
    # opaque id of the backend's), the end user's address, feature of the product.
    team: str
    session: str
    ip: str
    feature: str
    priority: Priority
    # Free labels, such as {"ticket": "T-17"}.
    labels: Mapping[str, str]
    # Whether a denial is raised, or left in `call.denial`.
    on_denied: OnDenied
    # How long one decision may take. None: as the client has it.
    timeout_seconds: float | None
    # How long to wait for room when denied; a call that waiting can't help is denied at once.
    wait_seconds: float
    # Shown when nobody decides and Headgate has not yet said what to show.
    fallback_text: str
    # Language in which the fallback text is wanted, such as "de-AT", and values for its variables.
    locale: str
    variables: Mapping[str, str]
    # Where a call goes that is let through without a decision.
    default_candidate: Candidate | None


class OperationOptions(CallerOptions, total=False):
    """What may be said about all calls of one operation."""

    # Bound of the output. None: the operation's default. Pass on `call.max_output_tokens`.
    max_output_tokens: int | None
    # Candidates that must not be chosen.
    exclude: Sequence[Candidate]


class CallOptions(OperationOptions, total=False):
    """What may be said about one call."""

    # The end user on whose behalf it is made: an opaque id of the backend's.
    user: str
    # Bounds of the input; the greater one counts.
    input_tokens: int
    input_bytes: int
    # Bounds of what is not tokens, by the names of the meters: {"image_count": 2}. Models that are
    # priced by such units need them.
    max_units: Mapping[str, int]
    # A UUID of the caller's. Empty: a new one.
    call_id: str
    # The first attempt, when this one replaces one that failed.
    parent_call_id: str
    # A person's leave for this very call: its id and all else are as they were asked about.
    approval_id: str
