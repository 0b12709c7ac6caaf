"""What the contracts declare for HTTP, and messages as JSON."""

from __future__ import annotations

import pkgutil
from importlib import import_module

import pytest

from gateway.web.app import SERVICES
from gateway.web.rest.bindings import read_bindings
from gateway.web.rest.messages import read_message
from gateway.web.rest.openapi import build_document
from gateway.web.rest.problems import RequestRefusedError
from headgate.api.gateway import v1
from tests.toys import DEPRECATION, OLD_TOY, make_service


def test_every_service_of_the_gateway_is_served() -> None:
    found = {
        name
        for module in pkgutil.iter_modules(v1.__path__)
        if module.name.endswith("_pb2")
        for name in import_module(f"{v1.__name__}.{module.name}").DESCRIPTOR.services_by_name
    }

    assert {service.name for service in SERVICES} == found


def test_every_method_has_a_path_of_its_own_below_the_version() -> None:
    bindings = read_bindings(SERVICES)

    assert len(bindings) == sum(len(service.methods) for service in SERVICES)
    assert all(binding.template.startswith("/v1/") for binding in bindings)


def test_a_method_that_ends_in_a_verb_is_tried_before_a_variable_that_would_match_it() -> None:
    templates = [binding.template for binding in read_bindings(SERVICES)]

    assert templates.index("/v1/alerts/{alert_id}:resolve") < templates.index(
        "/v1/alerts/{alert_id}"
    )


def test_two_versions_are_served_side_by_side() -> None:
    old = make_service("v1", "/v1/toys/{toy_id}", deprecated=True)
    new = make_service("v2", "/v2/toys/{toy_id}")
    document = build_document([old, new], {}, version="0", deprecations={OLD_TOY: DEPRECATION})

    assert list(document["paths"]) == ["/v1/toys/{toy_id}", "/v2/toys/{toy_id}"]
    operation = document["paths"]["/v1/toys/{toy_id}"]["get"]
    assert operation["deprecated"] is True
    assert "served until 2027-07-01: use `/v2/toys/{toy_id}`" in operation["description"]
    assert "deprecated" not in document["paths"]["/v2/toys/{toy_id}"]["get"]


def test_a_deprecated_method_has_an_end_and_no_other_has_one() -> None:
    old = make_service("v1", "/v1/toys/{toy_id}", deprecated=True)
    new = make_service("v1", "/v1/toys/{toy_id}")

    with pytest.raises(ValueError, match="alone"):
        build_document([old], {}, version="0")
    with pytest.raises(ValueError, match="alone"):
        build_document([new], {}, version="0", deprecations={OLD_TOY: DEPRECATION})


@pytest.mark.parametrize("paths", [("/v3/a", "/v3/a"), ("/v3/{toy_id}", "/v3/{toy_id}"), ("",)])
def test_a_path_that_is_missing_or_taken_stops_the_start(paths: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"the same path|declares no HTTP path"):
        read_bindings([make_service("v3", *paths)])


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ([("limit.cap", "1")], "limit.cap"),
        ([("filter.provider.x", "1")], "filter.provider.x"),
        ([("x" * 500, "1")], "x" * 100),
    ],
)
def test_a_query_parameter_that_is_no_field_is_named(
    query: list[tuple[str, str]], field: str
) -> None:
    (usage,) = [b for b in read_bindings(SERVICES) if b.method.name == "GetUsage"]
    with pytest.raises(RequestRefusedError) as refused:
        read_message(usage, {}, query, b"")

    assert [each.field for each in refused.value.violations] == [field]
