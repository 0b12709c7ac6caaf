"""Files of routes are read as they are written, or refused with every place that is wrong."""

from __future__ import annotations

import json

import pytest
import yaml

from headgate.api.common.v1 import call_pb2
from headgate.api.gateway.v1 import gateway_pb2
from headgate.cli import route_files
from headgate.cli.route_files import BadRouteFileError, read_routes, write_route


def test_the_example_of_the_module_is_read_and_written_again() -> None:
    assert route_files.__doc__ is not None
    text = route_files.__doc__.partition("\n\n")[2]
    (request,) = read_routes(text)
    route = request.route

    assert (route.operation, request.expected_version) == ("chat", 7)
    assert route.candidates[0] == call_pb2.Candidate(provider="openai", model="gpt-4.1-mini")
    assert list(route.weights) == [90, 10]
    assert (route.default_max_output_token_count, route.hold_seconds) == (2_048, 120)
    assert route.estimate_mode == gateway_pb2.ESTIMATE_MODE_ADAPTIVE
    assert (route.baseline_model.model, list(route.tags)) == ("gpt-4.1", ["text", "eu"])
    assert (route.approval_required, route.approval_threshold_nanos) == (True, 500_000_000)
    assert route.coalesces
    route.version = 7
    (again,) = read_routes(write_route(route))
    again.route.version = 7
    assert again == request
    # JSON is YAML.
    assert read_routes(json.dumps(yaml.safe_load(text)))[0].route.weights == route.weights


def test_a_short_route_says_little() -> None:
    (request,) = read_routes("routes: [{operation: x, candidates: [a/b/c]}]")

    assert not request.HasField("expected_version")
    assert request.route.candidates[0].model == "b/c"
    assert not request.route.weights
    assert "weights" not in write_route(request.route)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("{", "is no YAML"),
        ("[]", "routes: required, a list"),
        ("routes: []", "routes: required, a list"),
        ("routes: [x]", "routes[0]: must have names and values"),
        ("routes: [{operation: x}]", "routes[0].candidates: required, a list"),
        ("routes: [{candidates: [openai]}]", "routes[0].candidates[0]: 'openai' is not PROVIDER"),
        ("routes: [{candidates: [[]]}]", "routes[0].candidates[0]: [] is not PROVIDER/MODEL"),
        ("routes: [{candidates: [a/b: x]}]", "routes[0].candidates[0]: 'x' is no whole number"),
        ("routes: [{candidates: [a/b: 1, a/c]}]", "give each candidate a weight, or none"),
        ("routes: [{candidates: [a/b], colour: red}]", "routes[0].colour: is not known"),
        ("routes: [{candidates: [a/b], operation: [x]}]", "routes[0].operation: must be a text"),
        (
            "routes: [{candidates: [a/b], hold_seconds: [x]}]",
            "routes[0].hold_seconds: ['x'] is no",
        ),
        ("routes: [{candidates: [a/b], tags: x}]", "routes[0].tags: must be a list of words"),
        ("routes: [{candidates: [a/b], baseline: x}]", "routes[0].baseline: 'x' is not PROVIDER"),
    ],
)
def test_every_wrong_place_is_named(text: str, wrong: str) -> None:
    with pytest.raises(BadRouteFileError) as refused:
        read_routes(text)
    assert wrong in str(refused.value)
