"""Runs the demo: `python -m local.demo`, while `make up` runs in another terminal.

Exit codes: 0 everything holds, 1 something does not, 2 wrong use or nothing to run against.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import grpc.aio
from rich.console import Console

from local import config
from local.demo.endpoints import read_endpoints
from local.demo.outcome import Outcome
from local.demo.run import Demo, Options
from local.demo.screen import Picture, shown
from local.demo.tally import Tally
from local.errors import LocalError

EXIT_DIFFERENT: Final = 1
EXIT_WRONG_USE: Final = 2
EXIT_INTERRUPTED: Final = 130
SECONDS_MIN: Final = 5.0
SECONDS_MAX: Final = 3_600.0
RATE_MIN: Final = 0.1
RATE_MAX: Final = 500.0
# Bills and journals of so many runs are kept.
KEPT_RUN_COUNT: Final = 5


def main(arguments: Sequence[str] | None = None) -> int:
    """Plays the demo and returns its exit code."""
    options = _parse(arguments)
    console = Console(stderr=options.json)
    try:
        outcome = asyncio.run(_run(options, console))
    except KeyboardInterrupt:
        print("demo: interrupted; its books were not compared", file=sys.stderr)
        return EXIT_INTERRUPTED
    except (LocalError, grpc.aio.AioRpcError, ExceptionGroup) as error:
        return _explain(_innermost(error))
    if options.json:
        print(outcome.to_json())
    else:
        outcome.print(console)
    return 0 if outcome.reconciled else EXIT_DIFFERENT


async def _run(options: argparse.Namespace, console: Console) -> Outcome:
    state = config.places(options.state).state
    endpoints = read_endpoints(state)
    picture = Picture(tally=Tally())
    demo = Demo(
        endpoints=endpoints,
        options=Options(
            seconds=options.seconds, rate=options.rate, trace=options.trace, seed=options.seed
        ),
        folder=make_folder(state / "demo"),
        picture=picture,
    )
    async with shown(console, picture):
        return await demo.run()


def make_folder(parent: Path) -> Path:
    """Makes a run's folder and removes all but the latest of earlier ones."""
    try:
        parent.mkdir(mode=0o700, exist_ok=True)
        for old in sorted(parent.iterdir())[: -KEPT_RUN_COUNT + 1]:
            shutil.rmtree(old)
        folder = parent / datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise LocalError(f"cannot write the bill: {error}") from error
    return folder


def _innermost(error: Exception) -> Exception:
    """Returns the first error of nested groups."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def _explain(error: Exception) -> int:
    if isinstance(error, LocalError):
        print(f"demo: {error}", file=sys.stderr)
        return EXIT_WRONG_USE
    if isinstance(error, grpc.aio.AioRpcError):
        text = f"{error.code().name}: {error.details()}"
        print(f"demo: a service does not answer ({text}); see its log", file=sys.stderr)
        return EXIT_DIFFERENT
    raise error


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m local.demo",
        description="Real traffic through a running Headgate; ends with the reconciliation.",
    )
    parser.add_argument(
        "--seconds",
        type=_between(SECONDS_MIN, SECONDS_MAX),
        default=35.0,
        help="how long calls arrive (35)",
    )
    parser.add_argument(
        "--rate",
        type=_between(RATE_MIN, RATE_MAX),
        default=12.0,
        help="calls a second on average (12)",
    )
    parser.add_argument(
        "--trace", type=Path, help="CSV (.gz) with TIMESTAMP, ContextTokens, GeneratedTokens"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of everything drawn (0)")
    parser.add_argument("--state", type=Path, help="the state folder of `make up`")
    parser.add_argument("--json", action="store_true", help="the outcome as JSON on stdout")
    return parser.parse_args(arguments)


def _between(least: float, most: float) -> Callable[[str], float]:
    def number(text: str) -> float:
        value = float(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"must be from {least:g} to {most:g}")
        return value

    return number


if __name__ == "__main__":
    sys.exit(main())
