"""OpenTelemetry, if it is installed: a span for each call, known to the gateway, and a metric.

Spans follow the semantic conventions of generative AI. Without the package nothing happens and
nothing is paid; it is no dependency.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from headgate.decisions import Admission
    from headgate.plan import Plan

try:
    from opentelemetry import context as otel_context
    from opentelemetry import metrics, propagate, trace
except ImportError:
    _INSTALLED = False
else:
    _INSTALLED = True
    # These follow whatever provider is set later.
    _TRACER: Final = trace.get_tracer("headgate")
    _INCIDENTS: Final = metrics.get_meter("headgate").create_counter(
        "headgate.client.incidents",
        description="Calls that nobody decided on, and reports that nobody got.",
    )

# Meters of the contract, as the conventions name them.
_USAGE_ATTRIBUTES: Final = {
    "input_token_count": "gen_ai.usage.input_tokens",
    "output_token_count": "gen_ai.usage.output_tokens",
    "cache_read_token_count": "gen_ai.usage.cache_read.input_tokens",
}

Metadata = tuple[tuple[str, str], ...]


class CallSpan:
    """The span of one call, current while its block runs."""

    __slots__ = ("_before", "_operation", "_span")

    def __init__(self, span: trace.Span, operation: str) -> None:
        self._span = span
        self._operation = operation
        self._before: Any = None

    @property
    def span(self) -> trace.Span:
        """OpenTelemetry's own span."""
        return self._span

    def enter(self, admission: Admission) -> None:
        """Notes what was admitted, and makes the span the current one."""
        candidate = admission.candidate
        if candidate.provider:
            self._span.update_name(f"{self._operation} {candidate.model}")
            self._span.set_attribute("gen_ai.provider.name", candidate.provider)
            self._span.set_attribute("gen_ai.request.model", candidate.model)
        self._span.set_attribute("gen_ai.request.max_tokens", admission.max_output_tokens)
        self._span.set_attribute("headgate.org", admission.org)
        self._span.set_attribute("headgate.held_nanos", admission.held_nanos)
        self._before = otel_context.get_current()
        otel_context.attach(trace.set_span_in_context(self._span))

    def leave(self, *, error_type: str, counts: dict[str, int]) -> None:
        """Notes how the call ended, and ends the span."""
        for meter, attribute in _USAGE_ATTRIBUTES.items():
            if meter in counts:
                self._span.set_attribute(attribute, counts[meter])
        self.end(error_type)
        # A generator may be closed in another context than it was opened in: nothing to undo.
        if self._before is not None and trace.get_current_span() is self._span:
            otel_context.attach(self._before)

    def end(self, error_type: str) -> None:
        """Ends the span."""
        if error_type:
            self._span.set_attribute("error.type", error_type)
            self._span.set_status(trace.StatusCode.ERROR, error_type)
        self._span.end()


def start_span(plan: Plan) -> CallSpan | None:
    """Starts a call's span. None: nobody would record it, or a parent's to be passed on."""
    if not _INSTALLED:
        return None
    span = _TRACER.start_span(
        plan.operation,
        kind=trace.SpanKind.CLIENT,
        attributes={
            "gen_ai.operation.name": plan.operation,
            "headgate.operation": plan.operation,
            "headgate.call_id": plan.call_id,
        },
    )
    return CallSpan(span, plan.operation) if span.get_span_context().is_valid else None


def propagate_spans(method: str, spans: Sequence[CallSpan | None]) -> Metadata:
    """Returns the metadata that continues the calls' traces at the gateway.

    A batch carries calls of several traces: it has a span of its own that links to them.
    """
    known = [each.span for each in spans if each is not None]
    if not known:
        return ()
    span = known[0]
    if len(spans) > 1:
        links = [trace.Link(each.get_span_context()) for each in known]
        span = _TRACER.start_span(
            method, context=otel_context.Context(), kind=trace.SpanKind.PRODUCER, links=links
        )
        span.set_attribute("headgate.batch_size", len(spans))
        span.end()
    carrier: dict[str, str] = {}
    propagate.inject(carrier, trace.set_span_in_context(span, otel_context.Context()))
    return tuple(carrier.items())


def count_incident(kind: str, operation: str) -> None:
    """Counts an incident in the metric `headgate.client.incidents`."""
    if _INSTALLED:
        _INCIDENTS.add(1, {"headgate.incident": kind, "headgate.operation": operation})
