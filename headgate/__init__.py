"""Client of Headgate: asks before each AI call, reports after it.

    async with headgate.Client(target, api_key=key) as client:
        async with client.call("summarize", input_tokens=900, max_output_tokens=300) as call:
            reply = await ask_provider(call.model, prompt, max_tokens=call.max_output_tokens)
            call.report(input_tokens=reply.input_tokens, output_tokens=reply.output_tokens)

`SyncClient` is the same for programs without an event loop, `governed` a decorator for functions
of both kinds, `client.for_user` gives each user a session. HEADGATE_MODE=off asks nobody, =fake a
gateway in memory. A call that nobody decides on is denied with its fallback text, or let through
and counted, as the client declares.

What it promises, and the test that shows it:

1. Every way out of a call's block reports or releases it, cancellation at each await included,
   and a cancellation is never swallowed (tests/integration/headgate/test_every_await.py,
   tests/integration/headgate/test_cancellation.py).
2. A hold is released only if the call provably never left (tests/unit/headgate/test_classify.py).
3. An RPC is repeated with the same id only, and within its caller's time
   (tests/integration/headgate/test_retries.py).
4. Each attempt of a failover has an id and a hold of its own
   (tests/integration/headgate/test_failover.py).
5. An API key is never sent in plain text beyond this machine, unless its owner says so
   (tests/unit/headgate/test_channel.py).
6. Closing a client loses no report that is under way
   (tests/integration/headgate/test_closing.py).
7. Gateways may be restarted under load: no call gets an error by it, and the books agree with
   the client's receipts (tests/integration/headgate/test_replicas.py).

8. Both faces are one client: what holds for one holds for the other
   (tests/integration/headgate/test_sync.py).
9. Reports in the background are bounded, delivered before the process ends or counted as lost,
   whatever ends: the event loop, the process, a forked child
   (tests/integration/headgate/test_background.py).
10. Clients made before a fork work after it, in every process
    (tests/integration/headgate/test_forks.py).
11. When nobody decides, the declared policy holds, and is counted
    (tests/integration/headgate/test_unreachable.py).
12. Sessions share nothing but the connection (tests/integration/headgate/test_sessions.py).
13. Each request of a governed HTTP client is a call: a denied one reaches no provider, others are
    booked as the provider bills them (tests/integration/transports/test_packages.py).
14. No provider sees another one's credentials (tests/integration/transports/test_requests.py).
15. A person's leave is asked for and waited for without a hold, over restarts of gateways, and
    taken to the call it is for (tests/integration/headgate/test_approvals.py).
16. Inputs are never more tokens than what is held for them (tests/unit/headgate/test_bounds.py).

It does not promise that a report arrives when no gateway can be reached for longer than
`report_timeout_seconds`, or than ten seconds when the process ends: the hold is then charged when
it expires.
"""

from __future__ import annotations

from headgate.approvals import Approval, ApprovalState, PendingApproval
from headgate.call import Call
from headgate.channel import Tls
from headgate.client import Client, Session
from headgate.decisions import (
    Admission,
    CallOutcome,
    Candidate,
    CostBasis,
    Denial,
    DenialReason,
    FinishedCall,
    FinishedState,
    Metric,
    Receipt,
    RetryKind,
    ServiceState,
    Status,
    Violation,
)
from headgate.decorator import governed
from headgate.errors import (
    AllCandidatesFailed,
    CallMisused,
    ClientClosed,
    DeadlineExceeded,
    Denied,
    FieldViolation,
    Finished,
    HeadgateError,
    IdReused,
    InternalError,
    InvalidArgument,
    NotFound,
    NotSent,
    NotServed,
    Overloaded,
    PermissionDenied,
    RpcError,
    TooLate,
    Unauthenticated,
    Unavailable,
)
from headgate.incidents import Incident, IncidentKind
from headgate.money import format_usd, from_usd, parse_usd, to_usd
from headgate.options import Priority
from headgate.outlooks import (
    CandidateEstimate,
    Estimate,
    Extension,
    LimitsState,
    LimitState,
)
from headgate.sync import SyncCall, SyncClient, SyncPendingApproval, SyncSession
from headgate.transports import (
    Provider,
    governed_async_client,
    governed_client,
    governing,
)

__all__ = [
    "Admission",
    "AllCandidatesFailed",
    "Approval",
    "ApprovalState",
    "Call",
    "CallMisused",
    "CallOutcome",
    "Candidate",
    "CandidateEstimate",
    "Client",
    "ClientClosed",
    "CostBasis",
    "DeadlineExceeded",
    "Denial",
    "DenialReason",
    "Denied",
    "Estimate",
    "Extension",
    "FieldViolation",
    "Finished",
    "FinishedCall",
    "FinishedState",
    "HeadgateError",
    "IdReused",
    "Incident",
    "IncidentKind",
    "InternalError",
    "InvalidArgument",
    "LimitState",
    "LimitsState",
    "Metric",
    "NotFound",
    "NotSent",
    "NotServed",
    "Overloaded",
    "PendingApproval",
    "PermissionDenied",
    "Priority",
    "Provider",
    "Receipt",
    "RetryKind",
    "RpcError",
    "ServiceState",
    "Session",
    "Status",
    "SyncCall",
    "SyncClient",
    "SyncPendingApproval",
    "SyncSession",
    "Tls",
    "TooLate",
    "Unauthenticated",
    "Unavailable",
    "Violation",
    "format_usd",
    "from_usd",
    "governed",
    "governed_async_client",
    "governed_client",
    "governing",
    "parse_usd",
    "to_usd",
]
