"""How fast the SDK is, and what authentication costs, beside bare echoes of the same run.

`python -m bench.sdk [--json] [--seconds N] [--only NAME,...] [--check]`. Starts a whole system of
its own and needs nothing that runs. `cpu_us` is the processor time that a call costs the process
measured: the backend's own, or the server whose door it is. `ratio` is a shape's rate over that of
the shape that it stands beside, where a cycle is two RPCs and counts twice; for authentication it
is what a call costs without over what it costs with it, both measured at the same time.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import sys
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from typing import Any, Final

import grpc
from rich.console import Console
from rich.table import Table

import headgate
from bench import backend as backends
from bench import doors
from bench.admit import describe_machine
from bench.backend import Backend
from bench.governed import HttpWorks
from bench.load import Meter, Sample, Work, run_closed
from bench.shapes import SHAPES, find_failures
from bench.system import (
    Endpoints,
    processor_seconds,
    running_doors,
    running_echo,
    running_provider,
    running_system,
)
from headgate.api.gateway.v1 import admin_pb2, admin_pb2_grpc
from headgate.channel import authorization

SECONDS: Final = 9.0
# Shapes take turns: a machine that is slower for a while is so for all of them.
ROUND_COUNT: Final = 3
# Longer than any caller waits here: one that is given up is an error.
ADMISSION_SECONDS_MAX: Final = 30.0


class Works:
    """The units of work by the names of their shapes."""

    def __init__(
        self,
        *,
        sdk: headgate.Client,
        sdk_echo: headgate.Client,
        echo: Backend,
        off: Backend,
        on: Backend,
        http: HttpWorks,
        orgs: tuple[str, ...],
    ) -> None:
        self._orgs = itertools.cycle(orgs)
        self._sdk = sdk
        self._sdk_echo = sdk_echo
        self.by_name: Mapping[str, Work] = {
            "echo-1000": echo.admit,
            "sdk-echo-1000": self._admit_echo,
            "sdk-admit-1000": self._admit,
            "sdk-cycle": self._cycle,
            "plain-http": http.plain,
            "governed-http": http.governed,
            "auth-off": off.admit_hot,
            "auth-on": on.admit_hot,
        }

    def _call(self, client: headgate.Client) -> headgate.Call:
        return client.call(
            backends.OPERATION, org=next(self._orgs), input_tokens=420, max_output_tokens=256
        )

    async def _admit(self) -> int:
        await self._call(self._sdk).__aenter__()
        return 1

    async def _admit_echo(self) -> int:
        await self._call(self._sdk_echo).__aenter__()
        return 1

    async def _cycle(self) -> int:
        async with self._call(self._sdk) as call:
            call.report(input_tokens=420, output_tokens=180)
        if call.receipt is None:
            raise backends.UnexpectedAnswerError(repr(call.completion_error))
        return 1


def main() -> None:
    """Reads the command line, measures, prints."""
    parser = argparse.ArgumentParser(prog="bench.sdk", description="Measures the SDK.")
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
    with running_system() as endpoints:
        samples = asyncio.run(measure(endpoints, names, options.seconds))
    figures = summarize(samples)
    print(json.dumps(figures, indent=2)) if options.json else print_table(figures)
    failures = find_failures(figures)
    for failure in failures:
        print(failure, file=sys.stderr)
    sys.exit(1 if options.check and failures else 0)


async def measure(endpoints: Endpoints, names: list[str], seconds: float) -> dict[str, Sample]:
    """Runs the shapes in turns, with those that they stand beside."""
    wanted = {*names, *(SHAPES[name].beside for name in names)}
    async with AsyncExitStack() as stack:
        works, meter = await _prepare(endpoints, stack)
        samples = {name: Sample() for name in SHAPES if name in wanted}

        async def run(name: str) -> None:
            samples[name].add(
                await run_closed(
                    works.by_name[name],
                    meter,
                    callers=SHAPES[name].callers,
                    seconds=seconds / ROUND_COUNT,
                )
            )

        for number in range(1, ROUND_COUNT + 1):
            for group in _turns(samples):
                print(f"round {number}: {' and '.join(group)}", file=sys.stderr, flush=True)
                await asyncio.gather(*map(run, group))
        return samples


def _turns(names: Iterable[str]) -> list[list[str]]:
    """Returns the shapes in their order, those that run at the same time together."""
    turns: list[list[str]] = []
    for name in names:
        if SHAPES[name].together:
            turns[-1].append(name)
        else:
            turns.append([name])
    return turns


async def _prepare(endpoints: Endpoints, stack: AsyncExitStack) -> tuple[Works, Meter]:
    async def connect(address: str) -> grpc.aio.Channel:
        plain = grpc.aio.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)])
        return await stack.enter_async_context(plain)

    async def client(address: str, key: str) -> headgate.Client:
        made = headgate.Client(
            address, api_key=key, admission_timeout_seconds=ADMISSION_SECONDS_MAX
        )
        return await stack.enter_async_context(made)

    channel = await connect(endpoints.gateway)
    keys = await backends.prepare(channel, endpoints.admin_key)
    key = await _make_key_of_all(channel, endpoints.admin_key, tuple(keys))
    answer = (await Backend(channel, keys).fetch_answer()).SerializeToString()
    echo = stack.enter_context(running_echo(answer))
    doors_by_name = {
        name: stack.enter_context(running_doors(name, answer)) for name in ("off", "on")
    }
    whoever = dict.fromkeys(keys, doors.API_KEY)
    provider = stack.enter_context(running_provider())
    backend = headgate.Client(endpoints.gateway, api_key=key, reports="background")
    asker = await stack.enter_async_context(backend)
    http = await stack.enter_async_context(HttpWorks(asker, provider, backends.HOT_ORG))
    works = Works(
        sdk=await client(endpoints.gateway, key),
        sdk_echo=await client(echo, key),
        echo=Backend(await connect(echo), keys),
        off=Backend(await connect(doors_by_name["off"].address), whoever),
        on=Backend(await connect(doors_by_name["on"].address), whoever),
        http=http,
        orgs=tuple(keys),
    )

    def read_seconds() -> dict[str, float]:
        totals = endpoints.processor_seconds()
        totals |= {name: processor_seconds(each.pid) for name, each in doors_by_name.items()}
        return totals

    return works, read_seconds


async def _make_key_of_all(
    channel: grpc.aio.Channel, admin_key: str, orgs: tuple[str, ...]
) -> str:
    """One backend that acts for all orgs: its calls share batches."""
    request = admin_pb2.CreateApiKeyRequest(
        name="bench-all", role=admin_pb2.ROLE_BACKEND, orgs=orgs
    )
    stub = admin_pb2_grpc.AdminServiceStub(channel)
    created = await stub.CreateApiKey(request, metadata=authorization(admin_key))
    return created.secret


def summarize(samples: Mapping[str, Sample]) -> dict[str, dict[str, Any]]:
    """Returns the figures by name."""
    return {
        name: {
            "rate": round(sample.rate, 1),
            "p50_ms": round(sample.percentile_ms(50), 3),
            "p95_ms": round(sample.percentile_ms(95), 3),
            "p99_ms": round(sample.percentile_ms(99), 3),
            "cpu_us": round(_cpu_us(name, sample), 1),
            "errors": sample.error_count,
            "first_error": sample.first_error,
            "ratio": round(_ratio(name, samples), 3),
            "added_ms": round(_added_ms(name, samples), 3),
        }
        for name, sample in samples.items()
    }


def _cpu_us(name: str, sample: Sample) -> float:
    seconds = sample.processor_seconds[SHAPES[name].process]
    return seconds * 1e6 / max(sample.call_count, 1)


def _ratio(name: str, samples: Mapping[str, Sample]) -> float:
    shape = SHAPES[name]
    if shape.together:
        return _cpu_us(shape.beside, samples[shape.beside]) / _cpu_us(name, samples[name])
    return samples[name].rate * shape.rpcs / samples[shape.beside or name].rate


def _added_ms(name: str, samples: Mapping[str, Sample]) -> float:
    beside = samples[SHAPES[name].beside or name]
    return samples[name].percentile_ms(50) - beside.percentile_ms(50)


def print_table(figures: Mapping[str, Mapping[str, Any]]) -> None:
    """Prints the figures for people, with the machine that showed them."""
    table = Table("", "calls/s", "p50 ms", "p95 ms", "p99 ms", "CPU µs", "errors", "ratio")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, row in figures.items():
        table.add_row(
            name,
            f"{row['rate']:,.0f}",
            *(f"{row[key]:.1f}" for key in ("p50_ms", "p95_ms", "p99_ms")),
            f"{row['cpu_us']:.0f}",
            f"{row['errors']:,}",
            f"{row['ratio']:.2f}",
        )
    console = Console()
    console.print(table)
    console.print(f"{describe_machine()}; load, services and Postgres share it.")


if __name__ == "__main__":
    main()
