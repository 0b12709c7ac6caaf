"""Probes: asked for in order, not too often, and given back when nobody uses them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from opentelemetry.metrics import NoOpMeterProvider

from chassis.errors import PeerUnavailable
from gateway import probes as probing
from gateway.observations import Observations
from gateway.probes import Probe, Probes
from headgate.api.common.v1 import call_pb2
from headgate.api.health.v1 import health_pb2
from tests.unit.gateway.calls import ANTHROPIC, CALL_ID, GOOGLE, OPENAI, ROUTE, make_call
from tests.unit.gateway.test_copies import HealthEar, drained

METER = NoOpMeterProvider().get_meter("tests")


class ProbeGate:
    """Stands for health's probes: grants to some providers, may be away."""

    def __init__(self, *granted: str, away: bool = False) -> None:
        self._granted = granted
        self._away = away
        self.asked: list[str] = []
        self.acquire_probe = self

    async def submit(
        self, request: health_pb2.ProbeRequest, *, deadline: float | None
    ) -> health_pb2.ProbeResult:
        if self._away:
            raise PeerUnavailable("health")
        self.asked.append(request.provider)
        return health_pb2.ProbeResult(granted=request.provider in self._granted, breaker_epoch=7)


def probes(gate: Any, told: Observations | None = None) -> Probes:
    return Probes(gate, told or Observations(HealthEar().observe, METER))


async def test_probes_are_asked_for_in_order() -> None:
    gate = ProbeGate("google")
    other = type(OPENAI)(provider="openai", model="gpt-5")

    probe = await probes(gate).acquire(make_call(), ROUTE, (OPENAI, other, GOOGLE), deadline=None)

    assert probe == Probe(
        candidate=GOOGLE, breaker_epoch=7, org="acme", call_id=CALL_ID, credential="acme"
    )
    assert gate.asked == ["openai", "openai", "google"]


async def test_a_way_that_was_just_refused_is_not_asked_for_again_so_soon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(probing, "REFUSED_COUNT_MAX", 1)
    gate, now = ProbeGate(), 100.0
    asking = Probes(gate, Observations(HealthEar().observe, METER), now=lambda: now)  # type: ignore[arg-type]  # has what is used
    for _ in range(3):
        await asking.acquire(make_call(), ROUTE, (OPENAI,), deadline=None)
    assert gate.asked == ["openai"]
    # Another org's call may be luckier.
    await asking.acquire(make_call(credential="globex"), ROUTE, (OPENAI,), deadline=None)
    now += probing.REFUSED_SECONDS

    await asking.acquire(make_call(), ROUTE, (OPENAI,), deadline=None)

    assert len(gate.asked) == 3


async def test_without_a_grant_or_without_health_there_is_no_probe() -> None:
    refusing, away = ProbeGate(), ProbeGate("openai", away=True)

    assert await probes(refusing).acquire(make_call(), ROUTE, (OPENAI,), deadline=None) is None
    assert (
        await probes(away).acquire(make_call(), ROUTE, (OPENAI, ANTHROPIC), deadline=None) is None
    )


async def test_a_probe_that_nobody_uses_is_given_back_without_blame() -> None:
    heard: list[health_pb2.Observation] = []

    async def observe(batch: Sequence[health_pb2.Observation]) -> None:
        heard.extend(batch)

    told = Observations(observe, METER)
    lent = probes(ProbeGate("openai"), told)
    lent.give_back(None)
    lent.give_back(await lent.acquire(make_call(), ROUTE, (OPENAI,), deadline=None))
    await drained(told)

    (observed,) = heard
    assert observed.outcome == call_pb2.CALL_OUTCOME_ABORTED
    assert (observed.provider, observed.breaker_epoch) == ("openai", 7)
    assert (observed.org, observed.call_id) == ("acme", CALL_ID)
