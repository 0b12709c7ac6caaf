"""Clients, gateways, admissions, accounting and Postgres under a nemesis: every guarantee holds.

The schedule is drawn from a seed, which is printed. NEMESIS_SEED repeats a run, as far as a
machine repeats anything; NEMESIS_SECONDS makes it longer or shorter.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.system import state_folder
from tests.guarantees.callers import prepare
from tests.guarantees.nemesis import fleet as fleets
from tests.guarantees.nemesis.books import State
from tests.guarantees.nemesis.checker import check
from tests.guarantees.nemesis.history import Action, Kind
from tests.guarantees.nemesis.run import Outcome, run

SHORT_SECONDS = 25.0
LONG_SECONDS = 600.0


def seconds(default: float) -> float:
    return float(os.environ.get("NEMESIS_SECONDS", default))


async def rage(folder: Path, *, seconds: float, pace: float) -> Outcome:
    seed = int(os.environ.get("NEMESIS_SEED", secrets.randbelow(10**9)))
    print(f"NEMESIS_SEED={seed} NEMESIS_SECONDS={seconds:g}")
    with state_folder() as state:
        async with fleets.running(state, seed=seed) as fleet:
            await prepare(fleet)
            try:
                outcome = await run(
                    fleet, folder, seed=seed, seconds=seconds, pace=pace, say=print
                )
            finally:
                # For whoever has to find out what went wrong; pytest keeps a few of them.
                shutil.copytree(state / "logs", folder / "logs")
    print(tell(outcome))
    return outcome


def tell(outcome: Outcome) -> str:
    """What a run has seen, for whoever wonders whether it can have found anything."""
    kinds = Counter(f"{each.action} {each.kind}" for each in outcome.operations)
    answers = Counter(
        next(iter(each.facts["decision"]), "")
        for each in outcome.operations
        if each.action is Action.ADMIT and each.kind is Kind.OK
    )
    states = Counter(row.state for row in outcome.books.ended)
    samples = outcome.samples
    return (
        f"operations {dict(kinds)}; answers {dict(answers)}; ended {dict(states)};"
        f" {samples.count} samples, {samples.busy_count} busy"
    )


def assert_clean(outcome: Outcome) -> None:
    assert outcome.samples.findings == []
    findings = check(outcome.operations, outcome.books, outcome.rules)
    for finding in findings:
        print(finding)
    assert findings == []


def assert_telling(outcome: Outcome, *, fates: set[int]) -> None:
    """It had something to find: calls of these fates, caps that bound, samples under load."""
    assert {row.state for row in outcome.books.ended} >= fates
    assert any("denial" in each.facts.get("decision", {}) for each in outcome.operations)
    assert any(each.kind is Kind.INFO for each in outcome.operations)
    assert outcome.samples.busy_count > 10


async def test_every_guarantee_holds_under_a_nemesis(tmp_path: Path) -> None:
    outcome = await rage(tmp_path, seconds=seconds(SHORT_SECONDS), pace=2.0)
    assert_clean(outcome)
    assert_telling(outcome, fates={State.SETTLED, State.EXPIRED})


@pytest.mark.slow
async def test_every_guarantee_holds_under_a_nemesis_for_long(tmp_path: Path) -> None:
    outcome = await rage(tmp_path, seconds=seconds(LONG_SECONDS), pace=3.0)
    assert_clean(outcome)
    assert_telling(outcome, fates={State.SETTLED, State.RELEASED, State.EXPIRED, State.LATE})
