"""Types of events about what runs: breakers, stops, approvals, notifications."""

from __future__ import annotations

from typing import Final

from services.accounting.domain.event_types import EventType, Fact, Severity

_PROVIDER: Final = {
    "provider": "the provider",
    "part": "its model or credential, such as `model/gpt-9`; empty: all of it",
}
_PROVIDER_EXAMPLE: Final[dict[str, Fact]] = {"provider": "openai", "part": ""}
_CREDENTIAL: Final = {
    "provider": "the provider",
    "credential": "whose it is: an org, or `org/name` if the org has several",
}
_CREDENTIAL_EXAMPLE: Final[dict[str, Fact]] = {"provider": "openai", "credential": "acme"}
_KILL: Final = {"kill_id": "the switch", "reason": "why", "actor": "who"}
_KILL_EXAMPLE: Final[dict[str, Fact]] = {
    "kill_id": "platform",
    "reason": "runaway agent in acme",
    "actor": "k_3f9a0c41d2e7",
}
_APPROVAL: Final = {
    "approval_id": "the request",
    "call_id": "the call that it is for",
    "operation": "its operation",
    "summary": "what it is for, in the requester's words",
    "cost_nanos_max": "the most that it may hold, in nano-US-dollars",
    "requester": "public part of the API key that asks",
}
_APPROVAL_EXAMPLE: Final[dict[str, Fact]] = {
    "approval_id": "5a0f2f5e-2f55-4b0e-9f0f-0d5c2d7f6b11",
    "call_id": "01890a5d-ac96-774b-bcce-b302099a8057",
    "operation": "pay",
    "summary": "Pay T-17.",
    "cost_nanos_max": 84_000_000,
    "requester": "k_0c41d2e73f9a",
}

RUNNING_EVENTS: Final = (
    EventType(
        name="breaker.opened",
        version=1,
        severity=Severity.CRITICAL,
        meaning="A provider is not called any more because its calls fail.",
        facts=_PROVIDER | {"epoch": "the breaker's epoch"},
        example=_PROVIDER_EXAMPLE | {"epoch": 7},
    ),
    EventType(
        name="breaker.closed",
        version=1,
        severity=Severity.INFO,
        meaning="A provider is called again.",
        facts=_PROVIDER,
        example=_PROVIDER_EXAMPLE,
    ),
    EventType(
        name="credential.refused",
        version=1,
        severity=Severity.CRITICAL,
        meaning="A provider refuses a credential (401, 402, 403), or its quota is used up. Told "
        "with the first call that is refused.",
        facts=_CREDENTIAL,
        example=_CREDENTIAL_EXAMPLE,
    ),
    EventType(
        name="credential.accepted",
        version=1,
        severity=Severity.INFO,
        meaning="A credential that was refused is accepted again, or nobody uses it any more.",
        facts=_CREDENTIAL,
        example=_CREDENTIAL_EXAMPLE,
    ),
    EventType(
        name="kill.set",
        version=1,
        severity=Severity.CRITICAL,
        meaning="Somebody has stopped calls.",
        facts=_KILL,
        example=_KILL_EXAMPLE,
    ),
    EventType(
        name="kill.lifted",
        version=1,
        severity=Severity.WARNING,
        meaning="Calls pass again.",
        facts={"kill_id": "the switch"},
        example={"kill_id": "platform"},
    ),
    EventType(
        name="notification.failing",
        version=1,
        severity=Severity.WARNING,
        meaning="A channel does not take what is sent to it. The channel itself is not told.",
        facts={
            "channel_id": "the channel",
            "failure_count": "attempts that failed in a row",
            "error": "what the last one said",
        },
        example={
            "channel_id": "acme-oncall",
            "failure_count": 5,
            "error": "answered 500",
        },
    ),
    EventType(
        name="notification.test",
        version=1,
        severity=Severity.INFO,
        meaning="Somebody tries a channel.",
        facts={"channel_id": "the channel", "actor": "who"},
        example={"channel_id": "acme-oncall", "actor": "k_3f9a0c41d2e7"},
    ),
    EventType(
        name="approval.requested",
        version=1,
        severity=Severity.INFO,
        meaning="A call waits for a person's leave. Once for each request.",
        facts=_APPROVAL | {"expire_time": "until when somebody may decide, RFC 3339"},
        example=_APPROVAL_EXAMPLE | {"expire_time": "2026-11-27T09:00:00Z"},
    ),
    EventType(
        name="approval.decided",
        version=1,
        severity=Severity.INFO,
        meaning="Somebody gave or refused leave for a call. Once for each request.",
        facts=_APPROVAL | {"state": "`approved` or `rejected`", "decider": "who", "reason": "why"},
        example=_APPROVAL_EXAMPLE
        | {"state": "approved", "decider": "k_3f9a0c41d2e7", "reason": "agreed"},
    ),
)
