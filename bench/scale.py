"""What a call costs with many orgs, many open holds, many finished calls: it must not grow.

`python -m bench.scale [--json] [--seconds N] [--only NAME,...] [--scopes N,...] [--holds N,...]
[--finished N,...] [--picture FILE]`. Starts a system of its own for each curve, fills its database
to each size in turn, measures the same load there, and removes it all. The load goes to admission
and accounting as the gateway's batches do: 32 calls are held, booked and settled, for eight orgs
taken by chance; the gateway itself keeps nothing of calls and orgs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import asyncpg
import grpc

from bench import backend
from bench.curves import PARTS, Point, draw
from bench.history import History, org_of
from bench.load import Sample, run_closed
from bench.system import Endpoints, running_system
from headgate.api.accounting.v1 import accounting_pb2, accounting_pb2_grpc
from headgate.api.admission.v1 import admission_pb2, admission_pb2_grpc
from headgate.api.common.v1 import call_pb2
from headgate.channel import authorization
from headgate.ids import IdMaker

SECONDS: Final = 10.0
BATCH_SIZE: Final = 32
# As many at each size: calls of one org share its counters' rows, and more orgs would share less.
ORGS_IN_BATCH: Final = 8
CALLER_COUNT: Final = 4
# Orgs of the load where their number is not what is measured.
ORG_COUNT: Final = 100
SIZES: Final = {
    "scopes": (10, 10_000, 1_000_000),
    "holds": (0, 100_000, 1_000_000),
    "finished": (0, 1_000_000, 10_000_000),
}
TITLES: Final = {
    "scopes": "orgs with counters of their own",
    "holds": "open holds",
    "finished": "finished calls, over 35 days",
}
CANDIDATE: Final = call_pb2.Candidate(provider="openai", model="gpt-4o-mini")


class RefusedError(Exception):
    """A call was not held, booked or settled."""


class Callers:
    """Makes the load: each unit holds, books and settles a batch of calls."""

    def __init__(
        self, admission: grpc.aio.Channel, accounting: grpc.aio.Channel, *, token: str, orgs: int
    ) -> None:
        self._admission = admission_pb2_grpc.AdmissionServiceStub(admission)
        self._accounting = accounting_pb2_grpc.AccountingServiceStub(accounting)
        self._metadata = authorization(token)
        self._org_count = orgs
        self._ids = IdMaker()
        self._price_version = 0

    async def find_price_version(self) -> None:
        """Asks for the version that the calls are priced at."""
        book = await self._accounting.GetPriceBook(
            accounting_pb2.GetPriceBookRequest(), metadata=self._metadata
        )
        self._price_version = book.version

    async def cycle(self) -> int:
        """Takes a batch of calls through their whole lives."""
        request = admission_pb2.ReserveRequest()
        orgs = random.sample(range(self._org_count), min(ORGS_IN_BATCH, self._org_count))
        for number in range(BATCH_SIZE):
            self._ask(request.reservations.add(), org_of(orgs[number % len(orgs)]))
        held = await self._admission.Reserve(request, metadata=self._metadata, timeout=30)
        _check(held.results, "hold")
        reports = accounting_pb2.RecordRequest()
        for call, result in zip(request.reservations, held.results, strict=True):
            self._report(reports.reports.add(), call, result.hold)
        booked = await self._accounting.Record(reports, metadata=self._metadata, timeout=30)
        _check(booked.results, "booking")
        settling = admission_pb2.SettleRequest()
        for call, answer in zip(request.reservations, booked.results, strict=True):
            nanos = answer.booking.total_nanos
            settling.settlements.add(
                org=call.org, call_id=call.call_id, revision=1, total_nanos=nanos
            )
        settled = await self._admission.Settle(settling, metadata=self._metadata, timeout=30)
        _check(settled.results, "ended")
        return BATCH_SIZE

    def _ask(self, call: admission_pb2.ReservationRequest, org: str) -> None:
        call.org, call.call_id = org, self._ids.make()
        call.fingerprint, call.operation = b"\0" * 32, "summarize"
        call.price_version = self._price_version
        call.hold_duration.seconds = 600
        hold = call.candidates.add(cost_nanos=1_000_000, token_count=700)
        hold.candidate.CopyFrom(CANDIDATE)

    def _report(
        self,
        report: accounting_pb2.UsageReport,
        call: admission_pb2.ReservationRequest,
        hold: admission_pb2.Hold,
    ) -> None:
        report.org, report.call_id, report.operation = call.org, call.call_id, call.operation
        report.candidate.CopyFrom(CANDIDATE)
        report.admit_time.CopyFrom(hold.admit_time)
        report.price_version, report.held_nanos = call.price_version, hold.held_nanos
        report.api_key_id, report.outcome = "k_scale", call_pb2.CALL_OUTCOME_SUCCEEDED
        report.meters.CopyFrom(backend.METERS)


def main() -> None:
    """Reads the command line, measures, prints and draws."""
    parser = argparse.ArgumentParser(
        prog="bench.scale", description="Measures how a call's cost grows."
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="load at each size")
    parser.add_argument("--only", default=",".join(SIZES), help="curves, comma-separated")
    parser.add_argument("--picture", type=Path, help="file of the picture to draw, SVG")
    for name, usual in SIZES.items():
        default = ",".join(map(str, usual))
        parser.add_argument(f"--{name}", default=default, help=f"sizes; default {default}")
    options = parser.parse_args()
    names = options.only.split(",")
    if unknown := set(names) - SIZES.keys():
        parser.error(f"no such curve: {', '.join(sorted(unknown))}; known: {', '.join(SIZES)}")
    curves = {}
    for name in names:
        sizes = [int(size) for size in getattr(options, name).split(",")]
        with running_system() as endpoints:
            curves[name] = asyncio.run(measure(endpoints, name, sizes, options.seconds))
    print(json.dumps(summarize(curves), indent=2) if options.json else describe(curves))
    if options.picture is not None:
        options.picture.write_text(draw({TITLES[name]: curve for name, curve in curves.items()}))


async def measure(
    endpoints: Endpoints, name: str, sizes: Sequence[int], seconds: float
) -> list[Point]:
    """Fills the database to each size and measures there."""
    async with (
        _connect(endpoints.gateway) as gateway,
        _connect(endpoints.content["admissions"][0]) as admission,
        _connect(endpoints.content["accounting"]) as accounting,
    ):
        await backend.prepare(gateway, endpoints.admin_key)
        connections = [await asyncpg.connect(endpoints.content["database_url"]) for _ in range(2)]
        history, points = History(*connections), []
        for size in sorted(sizes):
            await history.fill(name, size)
            callers = Callers(
                admission,
                accounting,
                token=endpoints.service_token,
                orgs=size if name == "scopes" else ORG_COUNT,
            )
            await callers.find_price_version()
            sample = await run_closed(
                callers.cycle, endpoints.processor_seconds, callers=CALLER_COUNT, seconds=seconds
            )
            points.append(_point(size, sample))
        for connection in connections:
            await connection.close()
    return points


def _point(size: int, sample: Sample) -> Point:
    if sample.error_count or not sample.call_count:
        raise RefusedError(f"{sample.error_count} errors, first {sample.first_error}")
    cpu_us = {
        name.removesuffix("-0"): spent * 1e6 / sample.call_count
        for name, spent in sample.processor_seconds.items()
    }
    return Point(
        size=size,
        cpu_us={name: cpu_us.get(name, 0.0) for name in PARTS},
        p50_ms=sample.percentile_ms(50),
        p99_ms=sample.percentile_ms(99),
    )


def _connect(address: str) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)])


def _check(results: Sequence[Any], wanted: str) -> None:
    for result in results:
        if not result.HasField(wanted):
            raise RefusedError(str(result))


def summarize(curves: Mapping[str, Sequence[Point]]) -> dict[str, list[dict[str, Any]]]:
    """Returns the figures by curve."""
    return {
        name: [
            {
                "size": point.size,
                **{f"{part}_us": round(spent, 1) for part, spent in point.cpu_us.items()},
                "p50_ms": round(point.p50_ms, 2),
                "p99_ms": round(point.p99_ms, 2),
            }
            for point in curve
        ]
        for name, curve in curves.items()
    }


def describe(curves: Mapping[str, Sequence[Point]]) -> str:
    """Returns the figures as a table for people, in Markdown."""
    lines = [
        f"| | size | {' µs | '.join(PARTS)} µs | p50 ms | p99 ms |",
        "|---|---|" + "---|" * (len(PARTS) + 2),
    ]
    for name, curve in curves.items():
        for point in curve:
            costs = " | ".join(f"{point.cpu_us[part]:.0f}" for part in PARTS)
            lines.append(
                f"| {TITLES[name]} | {point.size:,} | {costs} | {point.p50_ms:.1f} "
                f"| {point.p99_ms:.1f} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
