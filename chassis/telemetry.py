"""Logs, traces and metrics of one process, built once in its wiring and closed with it.

Nothing here is global but the log's configuration, so that tests build as many as they need.
"""

from __future__ import annotations

import logging
import random
import secrets
import sys
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any, Final, Self

import grpc
import structlog
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import Meter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, Sampler, SamplingResult
from opentelemetry.trace import Link, Span, SpanKind, Tracer, TraceState
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import Attributes
from prometheus_client import CollectorRegistry, Histogram, start_http_server

from chassis.config import ConfigError, Settings, split_address

RPC_DURATION: Final = "rpc_server_duration"
# Seconds. Dense where our objectives lie: a few milliseconds.
_DURATION_BOUNDS: Final = (
    0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025,
    0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
_TRACEPARENT: Final = "traceparent"
_EXPORT_TIMEOUT_SECONDS: Final = 5
# Kinds that may begin a trace; any other span without a parent belongs to a call not sampled.
_ROOT_KINDS: Final = frozenset({SpanKind.SERVER, SpanKind.CONSUMER})

# The last hexadecimal digit of a traceparent whose "sampled" bit is set.
_SAMPLED_ENDINGS: Final = frozenset("13579bdf")

_PROPAGATOR: Final = TraceContextTextMapPropagator()

RecordRpc = Callable[[float, grpc.StatusCode], None]


class Telemetry:
    """The process's tracer and meter. A context manager: leaving it flushes and closes both."""

    def __init__(
        self,
        *,
        tracer_provider: TracerProvider,
        meter_provider: MeterProvider,
        registry: CollectorRegistry,
        close_page: Callable[[], None],
        metrics_port: int | None,
        root_ratio: float,
    ) -> None:
        self._tracer_provider = tracer_provider
        self._meter_provider = meter_provider
        self._close_page = close_page
        self._root_ratio = root_ratio
        # The Prometheus page's port, when there is one.
        self.metrics_port = metrics_port
        self.tracer: Tracer = tracer_provider.get_tracer("headgate")
        self.meter: Meter = meter_provider.get_meter("headgate")
        # Not the meter's: its histogram costs 20 µs a record, a fifth of a whole RPC; this one 1.
        self._rpc_duration = Histogram(
            RPC_DURATION,
            "Time from the arrival of an RPC to its answer.",
            ("rpc_service", "rpc_method", "rpc_grpc_status_code"),
            unit="seconds",
            buckets=_DURATION_BOUNDS,
            registry=registry,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._tracer_provider.shutdown()
        self._meter_provider.shutdown()
        self._close_page()

    def rpc_recorder(self, *, service: str, method: str) -> RecordRpc:
        """Returns a function that records one RPC's duration in seconds and its final code."""
        # Built at the first use: most codes never occur.
        observers: dict[grpc.StatusCode, Callable[[float], None]] = {}
        histogram = self._rpc_duration

        def record(seconds: float, code: grpc.StatusCode) -> None:
            observe = observers.get(code)
            if observe is None:
                observe = histogram.labels(service, method, str(code.value[0])).observe
                observers[code] = observe
            observe(seconds)

        return record

    def is_sampled(self, metadata: Mapping[str, Any]) -> bool:
        """Says whether an incoming RPC is traced: its caller decides, else chance."""
        traceparent = metadata.get(_TRACEPARENT)
        if traceparent is None:
            return self._root_ratio > 0 and random.random() < self._root_ratio  # noqa: S311 - sampling keeps no secret
        return str(traceparent)[-1:] in _SAMPLED_ENDINGS

    def start_rpc_span(self, method: str, metadata: Mapping[str, Any]) -> Span:
        """Starts the span of a sampled incoming RPC. The caller ends it."""
        parent = _PROPAGATOR.extract({k: v for k, v in metadata.items() if isinstance(v, str)})
        return self.tracer.start_span(
            method.lstrip("/"), parent, kind=SpanKind.SERVER, attributes={"rpc.system": "grpc"}
        )


def setup(
    settings: Settings, service_name: str, *, span_exporter: SpanExporter | None = None
) -> Telemetry:
    """Configures the log, opens the metrics page, builds the providers.

    `span_exporter` takes the place of the configured one. Raises ConfigError when the metrics
    address is taken.
    """
    _configure_log(settings, service_name)
    resource = Resource.create({"service.name": service_name})
    exporter = span_exporter or _build_exporter(settings)
    tracer_provider = TracerProvider(
        sampler=ParentBased(_RootSampler()), resource=resource, shutdown_on_exit=False
    )
    if exporter is not None:
        tracer_provider.add_span_processor(BatchSpanProcessor(exporter))
    registry = CollectorRegistry()
    readers = (
        [] if settings.metrics_address is None else [PrometheusMetricReader(registry=registry)]
    )
    port, close_page = _open_page(settings, registry)
    return Telemetry(
        tracer_provider=tracer_provider,
        meter_provider=MeterProvider(readers, resource=resource, shutdown_on_exit=False),
        registry=registry,
        close_page=close_page,
        metrics_port=port,
        root_ratio=0.0 if exporter is None else settings.trace_sample_ratio,
    )


def trace_metadata() -> tuple[str, str]:
    """Returns the outgoing RPC's metadata pair that continues the current trace.

    Without a trace it says "not sampled", so that the peer does not begin one of its own.
    """
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return (_TRACEPARENT, _NOT_SAMPLED)
    return (
        _TRACEPARENT,
        f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}",
    )


# Ids must not be zero; this process's own say as little as a random one would.
_NOT_SAMPLED: Final = f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00"


class _RootSampler(Sampler):
    """Samples every root that may be one: the chance was taken before the span was built."""

    def should_sample(  # noqa: PLR0917 - the library's signature
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        decision = Decision.RECORD_AND_SAMPLE if kind in _ROOT_KINDS else Decision.DROP
        return SamplingResult(decision, attributes, trace_state)

    def get_description(self) -> str:
        return "RootSampler"


def _build_exporter(settings: Settings) -> SpanExporter | None:
    if settings.otlp_endpoint is None:
        return None
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (  # noqa: PLC0415 - slow to import, rarely needed
        OTLPSpanExporter,
    )

    return OTLPSpanExporter(
        endpoint=settings.otlp_endpoint,
        insecure=settings.otlp_endpoint.startswith("http://"),
        timeout=_EXPORT_TIMEOUT_SECONDS,
    )


def _open_page(
    settings: Settings, registry: CollectorRegistry
) -> tuple[int | None, Callable[[], None]]:
    if settings.metrics_address is None:
        return None, lambda: None
    host, port = split_address(settings.metrics_address)
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        raise ConfigError(
            f"metrics address {settings.metrics_address}: {error.strerror or error}; "
            "choose another, or port 0"
        ) from None

    def close() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return server.server_port, close


def _configure_log(settings: Settings, service_name: str) -> None:
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _name_service(service_name),
        _add_trace,
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if settings.log_format == "json"
        else structlog.dev.ConsoleRenderer()
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(level, logging.WARNING), force=True)


def _name_service(service_name: str) -> structlog.typing.Processor:
    def add(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event.setdefault("service", service_name)
        return event

    return add


def _add_trace(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = f"{context.trace_id:032x}"
    return event
