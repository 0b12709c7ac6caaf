"""What the gateway asks of admission for one call: each candidate with its worst case."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass

from gateway.domain.books import PriceBook
from gateway.domain.calls import Call, Candidate, Route
from gateway.domain.estimates import HOLD_NANOS_MAX, worst_case_nanos
from gateway.domain.fingerprints import fingerprint
from gateway.domain.fitness import Breakers
from gateway.probes import Probe
from headgate.api.admission.v1 import admission_pb2
from headgate.api.common.v1 import limit_pb2


# Not frozen: made for every call, and a frozen one takes three times as long to make.
@dataclass(slots=True, kw_only=True)
class Ask:
    """A call on its way to admission."""

    call: Call
    route: Route
    max_output_token_count: int
    # Without candidates: none of them can be held.
    request: admission_pb2.ReservationRequest
    # The probe that this call holds, if any.
    probe: Probe | None
    # A person let it pass.
    approved: bool = False


def build(
    call: Call,
    route: Route,
    candidates: Sequence[Candidate],
    *,
    book: PriceBook,
    breakers: Breakers,
    probe: Probe | None,
) -> Ask:
    """Prices the candidates in order; drops those without a price, or too dear to be held."""
    output_bound = _output_bound(call, route)
    input_bound = max(call.input_token_count, call.input_byte_count)
    request = _begin(call, route, price_version=book.version)
    for candidate in candidates:
        ceiling = book.find(call.org, candidate, call.operation)
        if ceiling is None or ceiling.unbounded(call.unit_bounds):
            continue
        cost_nanos = worst_case_nanos(
            ceiling,
            input_token_count_max=input_bound,
            output_token_count_max=output_bound,
            unit_bounds=call.unit_bounds,
        )
        if cost_nanos > HOLD_NANOS_MAX:
            continue
        epoch = _epoch(candidate, breakers, probe)
        hold = request.candidates.add(
            cost_nanos=cost_nanos,
            breaker_epoch=epoch,
            token_count=input_bound + output_bound,
        )
        hold.candidate.provider = candidate.provider
        hold.candidate.model = candidate.model
    return Ask(
        call=call,
        route=route,
        max_output_token_count=output_bound,
        request=request,
        probe=probe,
    )


def find_unbounded(call: Call, candidates: Sequence[Candidate], book: PriceBook) -> list[str]:
    """Returns the units that the candidates are priced by alone and the call does not bound."""
    found = [book.find(call.org, each, call.operation) for each in candidates]
    return sorted(
        {name for each in found if each is not None for name in each.unbounded(call.unit_bounds)}
    )


def repeat(call: Call, route: Route, hold: admission_pb2.Hold) -> Ask:
    """Asks for what the call holds already: admission compares the callers' fields and answers
    with the stored hold.
    """
    request = _begin(call, route, price_version=hold.price_version)
    request.candidates.add(
        candidate=hold.candidate,
        cost_nanos=hold.held_nanos,
        breaker_epoch=hold.breaker_epoch,
        token_count=hold.held_token_count,
    )
    return Ask(
        call=call,
        route=route,
        max_output_token_count=_output_bound(call, route),
        request=request,
        probe=None,
    )


def _begin(call: Call, route: Route, *, price_version: int) -> admission_pb2.ReservationRequest:
    request = admission_pb2.ReservationRequest(
        org=call.org,
        call_id=call.call_id,
        fingerprint=fingerprint(call),
        operation=call.operation,
        price_version=price_version,
    )
    request.hold_duration.seconds = route.hold_seconds
    if route.adaptive_percent:
        request.adaptive_percent = route.adaptive_percent
    write_dimensions(
        request.dimensions, call.dimensions, labels=call.labels, api_key_id=call.api_key_id
    )
    request.priority = limit_pb2.Priority.ValueType(call.priority)
    return request


def write_dimensions(
    target: MutableMapping[str, str],
    dimensions: Mapping[str, str],
    *,
    labels: Mapping[str, str],
    api_key_id: str,
) -> None:
    """Writes what limits and fences can tell a call by, as admission takes it."""
    if api_key_id:
        target["api_key"] = api_key_id
    for name, value in dimensions.items():
        target[name] = value
    for key, value in labels.items():
        target[f"label.{key}"] = value


def _output_bound(call: Call, route: Route) -> int:
    bound = call.max_output_token_count
    return route.default_max_output_token_count if bound is None else bound


def _epoch(candidate: Candidate, breakers: Breakers, probe: Probe | None) -> int:
    if probe is not None and probe.candidate.provider == candidate.provider:
        return probe.breaker_epoch
    return breakers.epoch(candidate.provider)
