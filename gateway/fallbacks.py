"""Fallback texts of calls: the route's own, or that of the template that it names."""

from __future__ import annotations

from typing import Final

import grpc

from chassis.errors import ServiceError
from gateway.decisions import Fallback
from gateway.domain.calls import Call, Route
from gateway.routes import Routes
from headgate.api.common.v1 import denial_pb2

# Reasons besides those of denials, as texts see them.
FAILED: Final = "failed"
UNAVAILABLE: Final = "unavailable"
# Where an error carries the text, for callers whom nobody could answer.
METADATA: Final = "fallback_text"
# An error's details travel as a header, which must stay small.
METADATA_BYTES_MAX: Final = 2_048
# Nobody decided: the call may be asked for again, or shown its text.
_UNDECIDED: Final = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    }
)
_PREFIX: Final = "DENIAL_REASON_"


class Fallbacks:
    """Says what may be shown instead of an answer, from the gateway's copy of the templates."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes

    def find(
        self,
        call: Call,
        route: Route,
        *,
        reason: str,
        message: str = "",
        retry_seconds: int | None = None,
    ) -> Fallback:
        """Returns the text of a call. A template that is missing leaves the route's own."""
        template = None
        if route.fallback_template:
            template = self._routes.find_template(route.fallback_template)
        own = Fallback(route.fallback_text, route.fallback_text if call.variables else "")
        if template is None:
            return own
        known = {"operation": call.operation, "reason": reason, "message": message}
        if retry_seconds is not None:
            known["retry_seconds"] = str(retry_seconds)
        # What the gateway knows is no caller's to say.
        text = template.render(call.locale, {**call.variables, **known})
        if text is None:
            return own
        plain = template.render(call.locale, known) if call.variables else None
        return Fallback(text, plain or "")

    def complete(self, denial: denial_pb2.Denial, call: Call, route: Route) -> None:
        """Writes into a denial whom to ask about the org, and the text."""
        org = self._routes.find_org(call.org)
        if org is not None:
            denial.contact = org.contact
        retry = None
        if denial.HasField("retry_delay"):
            delay = denial.retry_delay
            retry = delay.seconds + (delay.nanos > 0)
        reason = denial_pb2.DenialReason.Name(denial.reason).removeprefix(_PREFIX).lower()
        found = self.find(call, route, reason=reason, message=denial.message, retry_seconds=retry)
        denial.fallback_text = found.text
        denial.plain_fallback_text = found.plain_text

    def attach(self, error: ServiceError, call: Call, route: Route) -> ServiceError:
        """Returns the error; if nobody could decide, one that carries the text for the caller."""
        if error.code not in _UNDECIDED:
            return error
        text = self.find(call, route, reason=UNAVAILABLE).text
        small = text.encode()[:METADATA_BYTES_MAX].decode(errors="ignore")
        # A copy: members of one batch share one error.
        return ServiceError(
            error.message,
            code=error.code,
            reason=error.reason,
            metadata={**error.metadata, **({METADATA: small} if small else {})},
            retry_delay_seconds=error.retry_delay_seconds,
        )
