"""How fast calls are admitted, beside a bare echo of the same messages in the same run.

`python -m bench.admit [--json] [--seconds N] [--only NAME,...] [--check]`. Starts a whole system
of its own and needs nothing that runs; one with two admissions follows. `ratio` is a shape's rate
over the rate of the echo with as many callers; a cycle is two RPCs and counts twice in it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import grpc
import psutil
from rich.console import Console
from rich.table import Table

from bench import backend as backends
from bench import denials, replicas, targets
from bench.backend import Backend
from bench.load import Meter, Sample, Work, run_closed, run_open
from bench.system import Endpoints, running_echo, running_system

SECONDS: Final = 9.0
# Shapes take turns: a machine that is slower for a while is so for all of them.
ROUND_COUNT: Final = 3
Loop = Callable[[Work, Meter], Awaitable[Sample]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One row of the table."""

    work: str
    # 0: an open loop.
    callers: int = 0
    # Units of work a second of an open loop.
    rate: float = 0.0
    # The echo that it is compared with; empty for an echo.
    echo: str = ""
    # RPCs that one unit makes.
    rpcs: int = 1
    # What `--check` demands.
    ratio_min: float = 0.0
    rate_min: float = 0.0


# Each echo stands beside what is compared with it, so that both meet the same moment.
SHAPES: Final[Mapping[str, Shape]] = {
    "echo-1": Shape(work="unary", callers=1),
    "unary-1": Shape(work="unary", callers=1, echo="echo-1"),
    "echo-64": Shape(work="unary", callers=64),
    "unary-64": Shape(work="unary", callers=64, echo="echo-64", ratio_min=0.4),
    "cycle-64": Shape(work="cycle", callers=64, echo="echo-64", rpcs=2),
    "echo-1000": Shape(work="unary", callers=1000),
    "unary-1000": Shape(work="unary", callers=1000, echo="echo-1000"),
    "echo-batch-32": Shape(work="batch", callers=8),
    "batch-32": Shape(work="batch", callers=8, echo="echo-batch-32", rate_min=6000),
    # A flood of denials.
    "denied-32": Shape(work="denied", callers=8, echo="echo-batch-32"),
    "open-1000-hot": Shape(work="hot", rate=1000, echo="echo-1000"),
    "open-2000-hot": Shape(work="hot", rate=2000, echo="echo-1000"),
    "open-2000": Shape(work="unary", rate=2000, echo="echo-1000"),
    # Measured on the second system: batches straight to one admission of two, or to both.
    "admissions-1": Shape(work="replicas", callers=replicas.CALLER_COUNT),
    "admissions-2": Shape(work="replicas", callers=replicas.CALLER_COUNT, echo="admissions-1"),
}
RESIDENT_MEBIBYTES_MAX: Final = 150
COST_COLUMNS: Final = ("load", "gateway-0", "admission-0", "accounting-0", "health-0", "postgres")


def main() -> None:
    """Reads the command line, measures, prints."""
    parser = argparse.ArgumentParser(prog="bench.admit", description="Measures admission.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="length of each shape")
    parser.add_argument("--only", default="", help="names of shapes, comma-separated")
    parser.add_argument("--check", action="store_true", help="exit 1 below what is promised")
    options = parser.parse_args()
    names = options.only.split(",") if options.only else list(SHAPES)
    if unknown := set(names) - SHAPES.keys():
        parser.error(f"no such shape: {', '.join(sorted(unknown))}; known: {', '.join(SHAPES)}")
    if not options.seconds > 0:
        parser.error("--seconds must be greater than 0")
    samples, resident = run(names, options.seconds)
    if options.json:
        figures = summarize(samples)
        verdicts = [
            {"target": text, "wanted": bound, "measured": figure, "met": is_met}
            for text, bound, figure, is_met in targets.judge(samples)
        ]
        print(json.dumps({**figures, "targets": verdicts}, indent=2))
    else:
        print_table(samples, resident)
    failures = find_failures(samples, resident)
    for failure in failures:
        print(failure, file=sys.stderr)
    sys.exit(1 if options.check and failures else 0)


def run(names: list[str], seconds: float) -> tuple[dict[str, Sample], dict[str, float]]:
    """Returns the samples, and the size of each service after the first system's run."""
    wanted = {*names, *(SHAPES[name].echo for name in names)}
    pair = [name for name in replicas.SHAPES if name in wanted]
    samples: dict[str, Sample] = {}
    resident: dict[str, float] = {}
    if rest := [name for name in names if name not in pair]:
        with running_system() as endpoints:
            samples = asyncio.run(measure(endpoints, rest, seconds))
            resident = endpoints.resident_mebibytes()
    if pair:
        with running_system("--admissions", "2") as endpoints:
            work = replicas.measure(endpoints, pair, seconds=seconds, rounds=ROUND_COUNT)
            samples |= asyncio.run(work)
    return samples, resident


async def measure(endpoints: Endpoints, names: list[str], seconds: float) -> dict[str, Sample]:
    """Runs the shapes in turns, with the echoes that they need."""
    wanted = {*names, *(SHAPES[name].echo for name in names)}
    async with AsyncExitStack() as stack:
        channel = await stack.enter_async_context(_connect(endpoints.gateway))
        keys = await backends.prepare(channel, endpoints.admin_key)
        real = Backend(channel, keys)
        denied = await denials.prepare(channel, endpoints.admin_key)
        answer = (await real.fetch_answer()).SerializeToString()
        echo_address = stack.enter_context(running_echo(answer))
        echo = Backend(await stack.enter_async_context(_connect(echo_address)), keys)
        samples = {name: Sample() for name in SHAPES if name in wanted}
        for number in range(1, ROUND_COUNT + 1):
            for name, sample in samples.items():
                print(f"round {number} of {ROUND_COUNT}: {name}", file=sys.stderr, flush=True)
                shape = SHAPES[name]
                works = backends.works(real if shape.echo else echo) | {"denied": denied}
                loop = _loop(shape, seconds / ROUND_COUNT)
                sample.add(await loop(works[shape.work], endpoints.processor_seconds))
        return samples


def _connect(address: str) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)])


def _loop(shape: Shape, seconds: float) -> Loop:
    if shape.callers:
        return partial(run_closed, callers=shape.callers, seconds=seconds)
    return partial(run_open, rate=shape.rate, seconds=seconds)


def summarize(samples: Mapping[str, Sample]) -> dict[str, dict[str, Any]]:
    """Returns the figures by name."""
    return {
        name: {
            "rate": round(sample.rate, 1),
            "p50_ms": round(sample.percentile_ms(50), 3),
            "p95_ms": round(sample.percentile_ms(95), 3),
            "p99_ms": round(sample.percentile_ms(99), 3),
            "errors": sample.error_count,
            "ratio": round(_ratio(name, samples), 3),
        }
        for name, sample in samples.items()
    }


def _ratio(name: str, samples: Mapping[str, Sample]) -> float:
    shape = SHAPES[name]
    return samples[name].rate * shape.rpcs / samples[shape.echo or name].rate


def print_table(samples: Mapping[str, Sample], resident: Mapping[str, float]) -> None:
    """Prints the figures for people, with the machine that showed them."""
    table = Table("", "calls/s", "p50 ms", "p95 ms", "p99 ms", "errors", "ratio")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, figures in summarize(samples).items():
        table.add_row(
            name,
            f"{figures['rate']:,.0f}",
            *(f"{figures[key]:.1f}" for key in ("p50_ms", "p95_ms", "p99_ms")),
            f"{figures['errors']:,}",
            f"{figures['ratio']:.2f}",
        )
    console = Console()
    console.print(table, _cost_table(samples), _target_table(samples))
    console.print(f"{describe_machine()}; load, services and Postgres share it.")
    sizes = ", ".join(f"{name} {size:.0f} MiB" for name, size in resident.items())
    console.print(f"Resident after the run: {sizes}.")


def _cost_table(samples: Mapping[str, Sample]) -> Table:
    """Processor time of one call by process: less at the mercy of the machine's other work."""
    table = Table("CPU µs a call", *(name.removesuffix("-0") for name in COST_COLUMNS))
    for name, sample in samples.items():
        if SHAPES[name].echo:
            costs = [
                sample.processor_seconds.get(column, 0.0) * 1e6 / max(sample.call_count, 1)
                for column in COST_COLUMNS
            ]
            table.add_row(name, *(f"{cost:.0f}" for cost in costs))
    for column in table.columns[1:]:
        column.justify = "right"
    return table


def _target_table(samples: Mapping[str, Sample]) -> Table:
    table = Table("target", "wanted", "measured", "")
    for text, bound, figure, is_met in targets.judge(samples):
        table.add_row(text, bound, figure, "met" if is_met else "not met")
    return table


def describe_machine() -> str:
    """Returns what the figures were measured on."""
    memory = round(psutil.virtual_memory().total / 2**30)
    return (
        f"{os.cpu_count()} processors ({platform.machine()}), {memory} GiB, "
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    )


def find_failures(samples: Mapping[str, Sample], resident: Mapping[str, float]) -> list[str]:
    """Returns what is less than promised, one line each."""
    failures = []
    for name, sample in samples.items():
        shape, ratio = SHAPES[name], _ratio(name, samples)
        if sample.error_count:
            failures.append(f"{name}: {sample.error_count} errors, first {sample.first_error}")
        if ratio < shape.ratio_min:
            failures.append(f"{name}: ratio {ratio:.2f} is below {shape.ratio_min}")
        if sample.rate < shape.rate_min:
            failures.append(f"{name}: {sample.rate:,.0f}/s is below {shape.rate_min:,.0f}/s")
    for name, size in resident.items():
        if size > RESIDENT_MEBIBYTES_MAX:
            failures.append(f"{name}: {size:.0f} MiB resident, more than {RESIDENT_MEBIBYTES_MAX}")
    return failures


if __name__ == "__main__":
    main()
