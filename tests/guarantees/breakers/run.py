"""One run: callers, a provider that fails now and then, and a nemesis between all processes."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.guarantees.breakers import calls as calling
from tests.guarantees.breakers import evidence as seeing
from tests.guarantees.breakers.calls import World
from tests.guarantees.breakers.checker import Call, Rules
from tests.guarantees.breakers.evidence import Evidence
from tests.guarantees.nemesis import faults, history
from tests.guarantees.nemesis.faults import Nemesis, Step
from tests.guarantees.nemesis.fleet import Fleet
from tests.guarantees.nemesis.keeper import POSTGRES

GATEWAY_COUNT: Final = 4
HEALTH_COUNT: Final = 2
GATEWAYS: Final = tuple(f"gateway-{number}" for number in range(GATEWAY_COUNT))
HEALTHS: Final = tuple(f"health-{number}" for number in range(HEALTH_COUNT))
# Who reaches whom through proxies.
LINKED: Final = {"gateway": ("health",), "health": (POSTGRES,)}
_CUTS: Final = (
    *(f"{gateway}>health" for gateway in GATEWAYS),
    "gateway-0>health-0",
    "gateway-1>health-1",
    ">health-0",
    *(f"{health}>{POSTGRES}" for health in HEALTHS),
)
KINDS: Final = {
    "kill": (*GATEWAYS, *HEALTHS),
    "pause": (*GATEWAYS, *HEALTHS),
    "cut": _CUTS,
    "cut-there": _CUTS,
    "cut-back": _CUTS,
    "slow": (">health", f">{POSTGRES}"),
    "tear": (">health", f">{POSTGRES}"),
    "linger": HEALTHS,
}
PROBE_COUNT: Final = 2
PROBE_SUCCESSES: Final = 2
FAILURE_THRESHOLD: Final = 5
SETTINGS: Final = {
    "HEADGATE_HEALTH_OPEN_SECONDS": "1",
    "HEADGATE_HEALTH_OPEN_GROWTH": "1",
    "HEADGATE_HEALTH_PROBE_COUNT": str(PROBE_COUNT),
    "HEADGATE_HEALTH_PROBE_SUCCESSES": str(PROBE_SUCCESSES),
    "HEADGATE_HEALTH_FAILURE_THRESHOLD": str(FAILURE_THRESHOLD),
    # Rates forget whose calls they counted; the checker could not tell of which epoch they were.
    "HEADGATE_HEALTH_RATE_CALL_COUNT": "1000000",
}
# A few probes in a row may be lost, each for as long as its call's hold.
HALF_OPEN_MAX: Final = dt.timedelta(seconds=25)
REST_SECONDS_MAX: Final = 90.0
POLL_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the checker looks at."""

    calls: Sequence[Call]
    evidence: Evidence
    rules: Rules


async def run(
    fleet: Fleet,
    folder: Path,
    *,
    seed: int,
    seconds: float,
    pace: float,
    say: Callable[[str], None],
) -> Outcome:
    """Lets callers call under faults for so long; returns when all breakers have closed."""
    database_url = fleet.endpoints["database_url"]
    await seeing.watch(database_url)
    steps = faults.schedule(seed, seconds=seconds, pace=pace, kinds=KINDS)
    world = World(random.Random(seed))
    stop, over = asyncio.Event(), asyncio.Event()
    start = calling.now()
    async with asyncio.TaskGroup() as group:
        group.create_task(world.turn(over))
        group.create_task(
            calling.call(
                fleet.endpoints["gateways"],
                fleet.endpoints["api_keys"],
                folder / "calls.jsonl",
                world,
                stop=stop,
                seed=seed,
            )
        )
        async with faults.raging(Nemesis(fleet, replace_client=_nobody), steps, say):
            await asyncio.sleep(seconds)
        over.set()
        await fleet.wait_until_ready()
        await _wait_until_closed(database_url)
        stop.set()
    evidence = await seeing.read(database_url)
    return Outcome(
        calls=calling.admitted(history.read(folder)),
        evidence=evidence,
        rules=_rules(steps, start),
    )


def _rules(steps: Sequence[Step], start: dt.datetime) -> Rules:
    outages = [
        (start + dt.timedelta(seconds=step.at), start + dt.timedelta(seconds=_end(step)))
        for step in steps
    ]
    return Rules(
        probe_count_max=PROBE_COUNT,
        probe_successes=PROBE_SUCCESSES,
        failure_threshold=FAILURE_THRESHOLD,
        half_open_max=HALF_OPEN_MAX,
        outages=outages,
        end=calling.now(),
    )


async def _wait_until_closed(database_url: str) -> None:
    # The checker says which one is not.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(REST_SECONDS_MAX):
            while not await seeing.all_closed(database_url):  # noqa: ASYNC110 - no event for it
                await asyncio.sleep(POLL_SECONDS)


def _end(step: Step) -> float:
    return step.at + step.seconds + faults.RECOVERY_SECONDS


async def _nobody() -> None:
    raise AssertionError("no client is killed")
