"""Which stops cover a call, and what they leave of its route."""

from __future__ import annotations

import pytest

from gateway.domain.stops import Stop, stop_of, values_of, without_stopped
from tests.unit.gateway.calls import ANTHROPIC, GOOGLE, OPENAI, make_call

VALUES = values_of(make_call())


def stop(until: float | None = None, **scope: str) -> Stop:
    return Stop(kill_id="k", message="Stopped.", scope=scope, expire_time=until)


@pytest.mark.parametrize(
    ("scope", "covered"),
    [
        ({}, True),
        ({"org": "acme"}, True),
        ({"org": "acme", "operation": "summarize", "api_key": "k_acme"}, True),
        ({"org": "globex"}, False),
        ({"org": "acme", "operation": "chat"}, False),
        # The gateway does not know this of a call: admission's fence does.
        ({"org": "acme", "feature": "search"}, False),
        ({"provider": "openai"}, False),
    ],
)
def test_a_stop_covers_a_call_that_has_all_its_values(
    scope: dict[str, str], covered: bool
) -> None:
    one = Stop(kill_id="k", message="Stopped.", scope=scope)

    assert (stop_of([one], VALUES, 0.0) is not None) == covered


def test_a_stop_whose_time_is_over_covers_nothing() -> None:
    assert stop_of([stop(until=10.0)], VALUES, 9.9) is not None
    assert stop_of([stop(until=10.0)], VALUES, 10.0) is None


def test_stops_of_providers_and_models_drop_candidates() -> None:
    route = (OPENAI, GOOGLE, ANTHROPIC)
    first = stop(provider="openai", org="acme")
    second = stop(model=ANTHROPIC.model)
    other = stop(provider="google", org="globex")

    assert without_stopped([first, second, other], route, VALUES, 0.0) == ([GOOGLE], first)
    assert without_stopped([other], route, VALUES, 0.0) == (list(route), None)
