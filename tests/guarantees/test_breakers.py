"""Four gateways, two healths and a nemesis: a breaker is one breaker, whatever happens.

NEMESIS_SEED repeats a run, as far as a machine repeats anything; NEMESIS_SECONDS sets its length.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.system import state_folder
from tests.guarantees.breakers.checker import check
from tests.guarantees.breakers.run import (
    GATEWAY_COUNT,
    HEALTH_COUNT,
    LINKED,
    SETTINGS,
    Outcome,
    run,
)
from tests.guarantees.callers import prepare
from tests.guarantees.nemesis import fleet as fleets

SHORT_SECONDS = 20.0
LONG_SECONDS = 600.0


async def rage(folder: Path, *, seconds: float, pace: float) -> Outcome:
    seconds = float(os.environ.get("NEMESIS_SECONDS", seconds))
    seed = int(os.environ.get("NEMESIS_SEED", secrets.randbelow(10**9)))
    print(f"NEMESIS_SEED={seed} NEMESIS_SECONDS={seconds:g}")
    with state_folder() as state:
        shape = fleets.Shape(gateways=GATEWAY_COUNT, admissions=1, healths=HEALTH_COUNT)
        async with fleets.running(
            state, shape, seed=seed, linked=LINKED, settings=SETTINGS
        ) as fleet:
            await prepare(fleet)
            try:
                outcome = await run(
                    fleet, folder, seed=seed, seconds=seconds, pace=pace, say=print
                )
            finally:
                shutil.copytree(state / "logs", folder / "logs")
    print(tell(outcome))
    return outcome


def tell(outcome: Outcome) -> str:
    """What a run has seen, for whoever wonders whether it can have found anything."""
    reports = Counter(each.succeeded for each in outcome.calls)
    states = Counter(turn.state for turn in outcome.evidence.turns)
    return (
        f"{len(outcome.calls)} calls, reports {dict(reports)}; states written {dict(states)};"
        f" {len(outcome.evidence.leases)} probes"
    )


def assert_clean(outcome: Outcome) -> None:
    findings = check(outcome.calls, outcome.evidence, outcome.rules)
    for finding in findings:
        print(finding)
    assert findings == []
    # It had something to find.
    assert {turn.state for turn in outcome.evidence.turns} == {"closed", "open", "half-open"}
    assert len(outcome.evidence.leases) > 5


async def test_a_breaker_is_one_breaker_under_a_nemesis(tmp_path: Path) -> None:
    assert_clean(await rage(tmp_path, seconds=SHORT_SECONDS, pace=1.5))


@pytest.mark.slow
async def test_a_breaker_is_one_breaker_under_a_nemesis_for_long(tmp_path: Path) -> None:
    assert_clean(await rage(tmp_path, seconds=LONG_SECONDS, pace=3.0))
