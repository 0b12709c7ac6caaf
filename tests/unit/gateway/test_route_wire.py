"""Every wrong field of a route is named, with the fix; what is unset gets its default."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from chassis.errors import InvalidArgument
from gateway.admin import wire_routes as wire
from gateway.domain.books import FLAT, PriceBook
from gateway.domain.estimates import ceiling
from gateway.route_store import RouteVersion
from headgate.api.common.v1 import call_pb2
from headgate.api.gateway.v1 import admin_pb2 as pb
from headgate.api.gateway.v1 import gateway_pb2
from tests.unit.gateway.calls import GOOGLE, OPENAI

CANDIDATE = call_pb2.Candidate(provider="openai", model="gpt-4o-mini")
OTHER = call_pb2.Candidate(provider="google", model="gemini-2.5-flash")
FREE = ceiling(input_rates=[], output_rates=[])
ADAPTIVE = gateway_pb2.ESTIMATE_MODE_ADAPTIVE
WRITTEN = dt.datetime(2026, 11, 26, 11, 30, tzinfo=dt.UTC)


def make_route(**values: Any) -> pb.Route:
    defaults: dict[str, Any] = {"operation": "summarize", "candidates": [CANDIDATE]}
    return pb.Route(**defaults | values)


def fields(refused: pytest.ExceptionInfo[InvalidArgument]) -> list[str]:
    assert all(each.description for each in refused.value.violations)
    return [each.field for each in refused.value.violations]


def test_a_route_gets_its_defaults() -> None:
    route = wire.parse_route(make_route(fallback_text="One.\n\n\tTwo. "))

    assert route.candidates == (OPENAI,)
    assert (route.default_max_output_token_count, route.hold_seconds) == (4_096, 600)
    assert route.fallback_text == "One.\n\n\tTwo. "
    assert (route.weights, route.tags, route.fallback_template) == ((), (), "")
    assert (route.baseline, route.adaptive_percent) == (None, 0)


def test_a_route_says_all_that_it_may() -> None:
    given = make_route(
        candidates=[CANDIDATE, OTHER],
        weights=[0, 10_000],
        fallback_template="sorry",
        tags=["text", "eu"],
        baseline_model=OTHER,
        estimate_mode=ADAPTIVE,
        adaptive_percent=150,
        default_max_output_token_count=7,
        fallback_text="Later.",
        hold_seconds=9,
    )
    route = wire.parse_route(given)

    assert (route.weights, route.tags, route.baseline) == ((0, 10_000), ("text", "eu"), GOOGLE)
    shown = wire.render_route(
        RouteVersion(route=route, version=3, update_time=WRITTEN, updater="k_ada")
    )
    given.version, given.updater = 3, "k_ada"
    given.update_time.FromDatetime(WRITTEN)
    assert shown == given
    assert wire.parse_route(make_route(estimate_mode=ADAPTIVE)).adaptive_percent == 120


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"operation": ""}, ["route.operation"]),
        ({"operation": "Sum"}, ["route.operation"]),
        ({"operation": "o" * 65}, ["route.operation"]),
        ({"candidates": []}, ["route.candidates"]),
        ({"candidates": [CANDIDATE] * 5}, ["route.candidates"]),
        ({"candidates": [CANDIDATE] * 2}, ["route.candidates"]),
        (
            {"candidates": [call_pb2.Candidate(provider="Open AI", model="")]},
            ["route.candidates[0].provider", "route.candidates[0].model"],
        ),
        ({"default_max_output_token_count": -1}, ["route.default_max_output_token_count"]),
        ({"default_max_output_token_count": 10**8 + 1}, ["route.default_max_output_token_count"]),
        ({"fallback_text": "f" * 4_097}, ["route.fallback_text"]),
        ({"fallback_text": "f\x00"}, ["route.fallback_text"]),
        ({"hold_seconds": -1}, ["route.hold_seconds"]),
        ({"hold_seconds": 86_401}, ["route.hold_seconds"]),
        ({"weights": [1, 1]}, ["route.weights"]),
        ({"weights": [0]}, ["route.weights"]),
        ({"weights": [-1]}, ["route.weights[0]"]),
        ({"weights": [10_001]}, ["route.weights[0]"]),
        ({"fallback_template": "No such"}, ["route.fallback_template"]),
        ({"fallback_template": "t" * 65}, ["route.fallback_template"]),
        ({"tags": ["A"]}, ["route.tags[0]"]),
        ({"tags": ["a", "a"]}, ["route.tags"]),
        ({"tags": [f"t{n}" for n in range(17)]}, ["route.tags"]),
        (
            {"baseline_model": call_pb2.Candidate()},
            ["route.baseline_model.provider", "route.baseline_model.model"],
        ),
        ({"estimate_mode": 9}, ["route.estimate_mode"]),
        ({"adaptive_percent": 120}, ["route.adaptive_percent"]),
        ({"estimate_mode": ADAPTIVE, "adaptive_percent": 99}, ["route.adaptive_percent"]),
        ({"estimate_mode": ADAPTIVE, "adaptive_percent": 1_001}, ["route.adaptive_percent"]),
    ],
    ids=lambda value: str(value)[:60],
)
def test_every_wrong_field_of_a_route_is_named(
    values: dict[str, Any], expected: list[str]
) -> None:
    with pytest.raises(InvalidArgument) as refused:
        wire.parse_route(make_route(**values))
    assert fields(refused) == expected


def test_candidates_and_baseline_need_a_price_of_somebodys() -> None:
    route = wire.parse_route(make_route(candidates=[CANDIDATE, OTHER], baseline_model=OTHER))
    openai, google = ((each.provider, each.model) for each in (OPENAI, GOOGLE))

    def check(platform: Any, overrides: Any) -> None:
        wire.check_prices(route, PriceBook(version=1, platform=platform, overrides=overrides))

    with pytest.raises(InvalidArgument) as refused:
        check({openai: FREE}, {})
    assert fields(refused) == ["route.candidates[1]", "route.baseline_model"]
    check({openai: FREE, google: FREE}, {})
    check({openai: FREE}, {"acme": {google: FREE}})
    check({(FLAT, "summarize"): FREE}, {})


def test_a_wrong_operation_or_version_is_named() -> None:
    with pytest.raises(InvalidArgument) as refused:
        wire.parse_operation("no such")
    assert fields(refused) == ["operation"]
    with pytest.raises(InvalidArgument) as refused:
        wire.parse_version(pb.RollbackRouteRequest(operation="", version=0), minimum=1)
    assert fields(refused) == ["operation", "version"]
    assert wire.parse_version(pb.GetRouteRequest(operation="chat"), minimum=0) == 0
