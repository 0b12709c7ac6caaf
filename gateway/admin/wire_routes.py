"""Routes between the contract and the gateway's own values."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from chassis.checks import Checks
from gateway import wire
from gateway.admin.wire_keys import render_time
from gateway.domain.books import PriceBook
from gateway.domain.calls import Candidate, Route
from gateway.domain.estimates import HOLD_NANOS_MAX
from gateway.route_store import RouteVersion
from headgate.api.common.v1 import call_pb2
from headgate.api.gateway.v1 import admin_pb2 as pb
from headgate.api.gateway.v1 import gateway_pb2

FALLBACK_LENGTH_MAX: Final = 4_096
TEMPLATE_LENGTH_MAX: Final = 64
TAG_COUNT_MAX: Final = 16
TAG_LENGTH_MAX: Final = 64
WEIGHT_MAX: Final = 10_000
DEFAULT_MAX_OUTPUT_TOKENS: Final = 4_096
DEFAULT_HOLD_SECONDS: Final = 600
HOLD_SECONDS_MAX: Final = 86_400
DEFAULT_ADAPTIVE_PERCENT: Final = 120
ADAPTIVE_PERCENT_MIN: Final = 100
ADAPTIVE_PERCENT_MAX: Final = 1_000
VERSION_MAX: Final = 2**63 - 2
# What people lay texts out with.
_LAYOUT: Final = str.maketrans("\n\t", "  ")


def parse_route(route: pb.Route, *, path: str = "route.") -> Route:
    """Checks a route; what is unset gets its default. Raises InvalidArgument."""
    checks = Checks(path)
    _check_operation(checks, "operation", route.operation)
    parsed = Route(
        operation=route.operation,
        candidates=_read_candidates(checks, route),
        default_max_output_token_count=checks.integer(
            "default_max_output_token_count",
            route.default_max_output_token_count or DEFAULT_MAX_OUTPUT_TOKENS,
            minimum=1,
            maximum=wire.TOKEN_COUNT_MAX,
        ),
        fallback_text=route.fallback_text,
        hold_seconds=checks.integer(
            "hold_seconds",
            route.hold_seconds or DEFAULT_HOLD_SECONDS,
            minimum=1,
            maximum=HOLD_SECONDS_MAX,
        ),
        weights=_read_weights(checks, route),
        fallback_template=route.fallback_template,
        tags=_read_tags(checks, route),
        baseline=_read_baseline(checks, route),
        adaptive_percent=_read_adaptive_percent(checks, route),
        coalesces=route.coalesces,
        approval_required=route.approval_required,
        approval_threshold_nanos=checks.integer(
            "approval_threshold_nanos",
            route.approval_threshold_nanos,
            minimum=0,
            maximum=HOLD_NANOS_MAX,
        ),
    )
    checks.text(
        "fallback_text",
        route.fallback_text.translate(_LAYOUT).strip(),
        min_length=0,
        max_length=FALLBACK_LENGTH_MAX,
    )
    if route.fallback_template:
        checks.text(
            "fallback_template",
            route.fallback_template,
            max_length=TEMPLATE_LENGTH_MAX,
            pattern=wire.NAME,
        )
    checks.raise_if_any()
    return parsed


def check_prices(
    route: Route,
    book: PriceBook,
    *,
    path: str = "route.",
    priced: Collection[Candidate] = (),
) -> None:
    """Raises InvalidArgument for every candidate without a price, `priced` ones aside."""
    checks = Checks(path)
    for position, candidate in enumerate(route.candidates):
        if candidate not in priced and not book.prices(candidate, route.operation):
            checks.violate(
                f"candidates[{position}]",
                f"{candidate} has no price, so no call to it could be held: set one, or a flat "
                f"price for calls of {route.operation}",
            )
    baseline = route.baseline
    if (
        baseline is not None
        and baseline not in priced
        and not book.prices(baseline, route.operation)
    ):
        checks.violate("baseline_model", f"{baseline} has no price to compare with: set one")
    checks.raise_if_any()


def parse_operation(operation: str, *, path: str = "operation") -> str:
    """Returns the operation. Raises InvalidArgument."""
    checks = Checks()
    _check_operation(checks, path, operation)
    checks.raise_if_any()
    return operation


def parse_tag(request: pb.ListRoutesRequest) -> str:
    """Returns the tag that routes must have; empty: any. Raises InvalidArgument."""
    checks = Checks()
    if request.tag:
        checks.text("tag", request.tag, max_length=TAG_LENGTH_MAX, pattern=wire.NAME)
    checks.raise_if_any()
    return request.tag


def parse_version(request: pb.GetRouteRequest | pb.RollbackRouteRequest, *, minimum: int) -> int:
    """Returns the version of a route that is meant. Raises InvalidArgument."""
    checks = Checks()
    _check_operation(checks, "operation", request.operation)
    checks.integer("version", request.version, minimum=minimum, maximum=VERSION_MAX)
    checks.raise_if_any()
    return request.version


def render_route(version: RouteVersion) -> pb.Route:
    """Renders a route in one of its versions."""
    route = version.route
    mode = gateway_pb2.ESTIMATE_MODE_ADAPTIVE
    return pb.Route(
        operation=route.operation,
        candidates=[_render_candidate(each) for each in route.candidates],
        default_max_output_token_count=route.default_max_output_token_count,
        fallback_text=route.fallback_text,
        hold_seconds=route.hold_seconds,
        weights=route.weights,
        fallback_template=route.fallback_template,
        tags=route.tags,
        baseline_model=None if route.baseline is None else _render_candidate(route.baseline),
        estimate_mode=mode if route.adaptive_percent else gateway_pb2.ESTIMATE_MODE_STRICT,
        adaptive_percent=route.adaptive_percent,
        version=version.version,
        update_time=render_time(version.update_time),
        updater=version.updater,
        approval_required=route.approval_required,
        approval_threshold_nanos=route.approval_threshold_nanos,
        coalesces=route.coalesces,
    )


def render_version(version: RouteVersion) -> pb.RouteVersion:
    """Renders one version of a route."""
    return pb.RouteVersion(
        route=render_route(version),
        deleted=version.deleted,
        restored_version=version.restored_version,
        reason=version.reason,
    )


def _check_operation(checks: Checks, field: str, operation: str) -> None:
    checks.text(field, operation, max_length=wire.OPERATION_LENGTH_MAX, pattern=wire.NAME)


def _read_candidates(checks: Checks, route: pb.Route) -> tuple[Candidate, ...]:
    count = len(route.candidates)
    if not 1 <= count <= wire.CANDIDATE_COUNT_MAX:
        checks.violate("candidates", f"has {count}; name 1 to {wire.CANDIDATE_COUNT_MAX}")
        return ()
    candidates = tuple(
        wire.read_candidate(checks, f"candidates[{position}]", each)
        for position, each in enumerate(route.candidates)
    )
    if len(set(candidates)) < count:
        checks.violate("candidates", "names a candidate twice; name each once")
    return candidates


def _read_weights(checks: Checks, route: pb.Route) -> tuple[int, ...]:
    weights = tuple(route.weights)
    if not weights:
        return ()
    if len(weights) != len(route.candidates):
        checks.violate(
            "weights", f"has {len(weights)} for {len(route.candidates)} candidates; one for each"
        )
    for position, weight in enumerate(weights):
        checks.integer(f"weights[{position}]", weight, minimum=0, maximum=WEIGHT_MAX)
    if not any(weights):
        checks.violate("weights", "are all 0; give at least one candidate a share")
    return weights


def _read_tags(checks: Checks, route: pb.Route) -> tuple[str, ...]:
    tags = tuple(route.tags)
    if len(tags) > TAG_COUNT_MAX:
        checks.violate("tags", f"has {len(tags)}; at most {TAG_COUNT_MAX}")
        return ()
    for position, tag in enumerate(tags):
        checks.text(f"tags[{position}]", tag, max_length=TAG_LENGTH_MAX, pattern=wire.NAME)
    if len(set(tags)) < len(tags):
        checks.violate("tags", "has a tag twice; give each once")
    return tags


def _read_baseline(checks: Checks, route: pb.Route) -> Candidate | None:
    if not route.HasField("baseline_model"):
        return None
    return wire.read_candidate(checks, "baseline_model", route.baseline_model)


def _read_adaptive_percent(checks: Checks, route: pb.Route) -> int:
    mode, percent = route.estimate_mode, route.adaptive_percent
    if mode == gateway_pb2.ESTIMATE_MODE_ADAPTIVE:
        return checks.integer(
            "adaptive_percent",
            percent or DEFAULT_ADAPTIVE_PERCENT,
            minimum=ADAPTIVE_PERCENT_MIN,
            maximum=ADAPTIVE_PERCENT_MAX,
        )
    if mode not in gateway_pb2.EstimateMode.values():
        checks.violate("estimate_mode", f"{mode} is no value that this server knows")
    if percent:
        checks.violate("adaptive_percent", "says how adaptive estimates are made; choose them")
    return 0


def _render_candidate(candidate: Candidate) -> call_pb2.Candidate:
    return call_pb2.Candidate(provider=candidate.provider, model=candidate.model)
