"""Files of routes, in YAML or JSON: read as they are written, or refused with every wrong place.

routes:
  - operation: chat
    version: 7                     # left out: whatever the route has; 0: there must be none
    candidates:                    # in order of preference, at most 4
      - openai/gpt-4.1-mini: 90    # with its share of the users
      - anthropic/claude-haiku-4-5: 10
    max_output_tokens: 2048
    hold_seconds: 120
    adaptive_percent: 120          # left out: the worst case is held
    fallback_text: Please try again in a minute.
    fallback_template: sorry
    baseline: openai/gpt-4.1
    tags: [text, eu]
    approval: true                 # each call needs a person's leave
    approval_above: "0.50"         # or those that may cost more, in US dollars
    coalesce: true                 # identical calls at once share one answer
"""

from __future__ import annotations

from typing import Any, Final

import yaml

from headgate.api.common.v1 import call_pb2
from headgate.api.gateway.v1 import admin_pb2, gateway_pb2
from headgate.money import parse_usd, to_usd

_NUMBERS: Final = {
    "max_output_tokens": "default_max_output_token_count",
    "hold_seconds": "hold_seconds",
    "adaptive_percent": "adaptive_percent",
}
_DIGITS_MAX: Final = 9
_TEXTS: Final = ("operation", "fallback_text", "fallback_template")
_FIELDS: Final = {
    *(*_NUMBERS, *_TEXTS),
    *("version", "candidates", "baseline", "tags", "approval", "approval_above", "coalesce"),
}


class BadRouteFileError(Exception):
    """What is wrong, one line for each place."""


def split_candidate(text: str) -> call_pb2.Candidate | None:
    """Returns the candidate that PROVIDER/MODEL names; a model may hold more slashes."""
    provider, _, model = text.partition("/")
    return call_pb2.Candidate(provider=provider, model=model) if provider and model else None


def parse_whole(text: str) -> int | None:
    """Returns the whole number that a text is. None: it is none, or too long for any field."""
    short = text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX
    return int(text) if short else None


def read_routes(text: str) -> list[admin_pb2.PutRouteRequest]:
    """Returns what a file asks for. Raises BadRouteFileError."""
    try:
        document = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506 - it makes texts alone
    except yaml.YAMLError as error:
        raise BadRouteFileError(f"is no YAML: {' '.join(str(error).split())}") from None
    reader = RouteReader()
    listed = document.get("routes") if isinstance(document, dict) else None
    if not isinstance(listed, list) or not listed:
        raise BadRouteFileError("routes: required, a list")
    requests = [reader.read(f"routes[{place}]", each) for place, each in enumerate(listed)]
    if reader.wrong:
        raise BadRouteFileError("\n".join(reader.wrong))
    return requests


def write_route(route: admin_pb2.Route) -> str:
    """Returns a route as a file that `read_routes` reads."""
    told = describe_route(route)
    told = {"operation": told.pop("operation"), "version": route.version, **told}
    return yaml.safe_dump({"routes": [told]}, sort_keys=False, allow_unicode=True)


def describe_route(route: admin_pb2.Route) -> dict[str, Any]:
    """Returns what a file says of a route, without its version."""
    names = [f"{each.provider}/{each.model}" for each in route.candidates]
    told: dict[str, Any] = {"operation": route.operation, "candidates": names}
    if route.weights:
        pairs = zip(names, route.weights, strict=True)
        told["candidates"] = [{name: weight} for name, weight in pairs]
    for name, field in _NUMBERS.items():
        if getattr(route, field):
            told[name] = getattr(route, field)
    for name in ("fallback_text", "fallback_template"):
        if getattr(route, name):
            told[name] = getattr(route, name)
    if route.HasField("baseline_model"):
        told["baseline"] = f"{route.baseline_model.provider}/{route.baseline_model.model}"
    if route.tags:
        told["tags"] = list(route.tags)
    if route.approval_required:
        told["approval"] = True
    if route.coalesces:
        told["coalesce"] = True
    if route.approval_threshold_nanos:
        told["approval_above"] = f"{to_usd(route.approval_threshold_nanos):f}"
    return told


class RouteReader:
    """Collects everything that is wrong, so that one look finds it all."""

    def __init__(self) -> None:
        self.wrong: list[str] = []

    def read(self, path: str, given: Any) -> admin_pb2.PutRouteRequest:
        """Returns what a route in a file asks for."""
        request = admin_pb2.PutRouteRequest()
        if not isinstance(given, dict):
            self.wrong.append(f"{path}: must have names and values")
            return request
        self.wrong += [f"{path}.{name}: is not known" for name in given if name not in _FIELDS]
        route = request.route
        for name in _TEXTS:
            value = given.get(name, "")
            if isinstance(value, str):
                setattr(route, name, value)
            else:
                self.wrong.append(f"{path}.{name}: must be a text")
        for name, field in _NUMBERS.items():
            if name in given:
                setattr(route, field, self._number(f"{path}.{name}", given[name]))
        if route.adaptive_percent:
            route.estimate_mode = gateway_pb2.ESTIMATE_MODE_ADAPTIVE
        if "version" in given:
            request.expected_version = self._number(f"{path}.version", given["version"])
        if "baseline" in given:
            route.baseline_model.CopyFrom(self._candidate(f"{path}.baseline", given["baseline"]))
        self._approval(path, given, route)
        route.coalesces = self._yes(f"{path}.coalesce", given.get("coalesce", "false"))
        route.tags.extend(self._tags(f"{path}.tags", given.get("tags", [])))
        self._candidates(f"{path}.candidates", given.get("candidates"), route)
        return request

    def _approval(self, path: str, given: dict[Any, Any], route: admin_pb2.Route) -> None:
        required = given.get("approval", "false")
        route.approval_required = self._yes(f"{path}.approval", required)
        if "approval_above" in given:
            try:
                route.approval_threshold_nanos = parse_usd(str(given["approval_above"]))
            except ValueError as error:
                self.wrong.append(f"{path}.approval_above: {error}")

    def _yes(self, path: str, given: Any) -> bool:
        if given not in ("true", "false"):
            self.wrong.append(f"{path}: must be true or false")
        return bool(given == "true")

    def _candidates(self, path: str, given: Any, route: admin_pb2.Route) -> None:
        if not isinstance(given, list) or not given:
            self.wrong.append(f"{path}: required, a list")
            return
        for place, each in enumerate(given):
            at = f"{path}[{place}]"
            name = each
            if isinstance(each, dict) and len(each) == 1:
                ((name, weight),) = each.items()
                route.weights.append(self._number(at, weight))
            route.candidates.append(self._candidate(at, name))
        if route.weights and len(route.weights) != len(route.candidates):
            self.wrong.append(f"{path}: give each candidate a weight, or none")

    def _candidate(self, path: str, given: Any) -> call_pb2.Candidate:
        found = split_candidate(given) if isinstance(given, str) else None
        if found is None:
            self.wrong.append(f"{path}: {given!r} is not PROVIDER/MODEL")
        return found or call_pb2.Candidate()

    def _tags(self, path: str, given: Any) -> list[str]:
        if isinstance(given, list) and all(isinstance(each, str) for each in given):
            return given
        self.wrong.append(f"{path}: must be a list of words")
        return []

    def _number(self, path: str, given: Any) -> int:
        number = parse_whole(given) if isinstance(given, str) else None
        if number is None:
            self.wrong.append(f"{path}: {given!r} is no whole number")
        return number or 0
