"""Plays outages of a provider under load, on a system of its own: `make outage`.

Takes a quarter of an hour; `--short` a minute, with everything faster. Prints what callers got in
each phase as it goes, and in the end which promises were broken. Exit code 1: some were.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.outage import timeline, verdict
from bench.outage.callers import count
from bench.outage.run import Result, play
from bench.outage.script import FULL, SHORT, Script
from bench.system import running_system


def run(script: Script, folder: Path, *, say: Any = print) -> Result:
    """Starts a system that suits the script, plays it and stops the system."""
    settings = {f"HEADGATE_HEALTH_{name}": value for name, value in script.health.items()}
    options = ("--gateways", "2", "--admissions", "2", "--healths", "2")
    with running_system(*options, environment=settings) as endpoints:
        return asyncio.run(play(script, endpoints, folder, say))


def summarize(result: Result) -> dict[str, Any]:
    """Returns the figures, and what is broken."""
    broken = verdict.judge(
        result.windows,
        result.seen,
        result.evidence,
        incident_count=result.incident_count,
    )
    if result.recovery_seconds is None:
        broken.append("the provider did not get its calls back by itself")
    moves = result.evidence.moves
    return {
        "calls": len(result.seen),
        "seconds": round(result.seconds, 1),
        "seen": count(result.seen),
        "nanos": verdict.sums(result.evidence),
        "incidents": result.incident_count,
        "breaker_moves": len(moves),
        "openings": sum(move.after == "open" and move.before == "closed" for move in moves),
        "recovery_seconds": result.recovery_seconds,
        "broken": broken,
    }


def main() -> int:
    """Plays, prints and draws."""
    parser = argparse.ArgumentParser(prog="python -m bench.outage", description=__doc__)
    parser.add_argument("--short", action="store_true", help="a minute instead of a quarter hour")
    parser.add_argument("--json", action="store_true", help="figures as JSON on stdout")
    parser.add_argument("--picture", type=Path, metavar="SVG", help="draw the timeline there")
    options = parser.parse_args()
    script = SHORT if options.short else FULL

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    say(f"{script.seconds / 60:.0f} minutes of outages at {script.rate:g} calls a second")
    with tempfile.TemporaryDirectory(prefix="headgate-outage-") as folder:
        result = run(script, Path(folder), say=say)
    figures = summarize(result)
    if options.picture:
        moves = result.evidence.moves
        picture = timeline.draw(result.windows, result.seen, moves, seconds=result.seconds)
        options.picture.write_text(picture, encoding="utf-8")
    if options.json:
        print(json.dumps(figures, indent=2))
    else:
        _print(figures)
    return 1 if figures["broken"] else 0


def _print(figures: dict[str, Any]) -> None:
    print(f"{figures['calls']:,} calls in {figures['seconds']:,} s")
    for name, number in figures["seen"].items():
        print(f"  {number:7,} {name}")
    for name, nanos in figures["nanos"].items():
        print(
            f"  {name}: booked {nanos.get('booked', 0):,}, billed {nanos.get('billed', 0):,} nanos"
        )
    print(f"breakers opened {figures['openings']} times; {figures['breaker_moves']} moves")
    for text in figures["broken"][:20]:
        print(f"BROKEN: {text}")
    print(f"{len(figures['broken'])} promises broken")


if __name__ == "__main__":
    sys.exit(main())
