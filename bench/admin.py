"""Measures what staff wait for.

`python -m bench.admin [--json] [--rounds N] [--watchers N]`. Starts a whole system with two
gateways. In milliseconds:

- events-seen: from the end of the transaction that writes an event to each of N watchers, half of
  them at each gateway.

And `transcoder`: answers a second over HTTP by the transcoder, by a route that is written by hand
for the same RPC, and the ratio of the two.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import time
import uuid
from collections.abc import Sequence
from typing import Any, Final

import asyncpg
import grpc

from bench import transcoder
from bench.system import Endpoints, running_system
from headgate.api.gateway.v1 import event_admin_pb2, event_admin_pb2_grpc
from headgate.channel import authorization

# What no other event is called.
TYPE: Final = "bench.event"
PAUSE_SECONDS: Final = 0.05
TARGET_MS: Final = 100.0
INSERT: Final = """
    INSERT INTO accounting.event
        (event_id, type, type_version, severity, org, subject, title, data, muted)
    VALUES ($1, $2, 1, 1, 'acme', 'bench', 'bench', '{}', true)
"""
Row = dict[str, float]


async def _watch(
    channel: grpc.aio.Channel, key: str, ready: asyncio.Semaphore, seen: dict[str, list[float]]
) -> None:
    """Notes when each event comes, until cancelled."""
    watch: Any = event_admin_pb2_grpc.EventAdminServiceStub(channel).WatchEvents
    request = event_admin_pb2.WatchEventsRequest(types=[TYPE])
    async for told in watch(request, metadata=authorization(key)):
        if told.HasField("event"):
            seen.setdefault(told.event.event_id, []).append(time.perf_counter())
        else:
            ready.release()


async def _events_seen(endpoints: Endpoints, options: argparse.Namespace) -> Row:
    ready, seen = asyncio.Semaphore(0), dict[str, list[float]]()
    written: dict[str, float] = {}
    async with contextlib.AsyncExitStack() as stack:
        channels = [
            await stack.enter_async_context(grpc.aio.insecure_channel(address))
            for address in endpoints.content["gateways"]
        ]
        watchers = [
            asyncio.create_task(
                _watch(channels[number % len(channels)], endpoints.admin_key, ready, seen)
            )
            for number in range(options.watchers)
        ]
        for _ in watchers:
            await ready.acquire()
        connection = await asyncpg.connect(endpoints.content["database_url"])
        for _ in range(options.rounds):
            event_id = uuid.uuid4()
            await connection.execute(INSERT, event_id, TYPE)
            written[str(event_id)] = time.perf_counter()
            await asyncio.sleep(PAUSE_SECONDS)
        await connection.close()
        await asyncio.sleep(1)
        for watcher in watchers:
            watcher.cancel()
        await asyncio.wait(watchers)
    took = [at - written[event_id] for event_id, times in seen.items() for at in times]
    row = _row(took)
    row["lost"] = options.rounds * options.watchers - len(took)
    return row


def _row(seconds: Sequence[float]) -> Row:
    ordered = sorted(seconds)
    return {
        name: ordered[min(int(share * len(ordered)), len(ordered) - 1)] * 1_000
        for name, share in (("p50", 0.50), ("p99", 0.99), ("max", 1.0))
    }


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="bench.admin", description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--watchers", type=int, default=20)
    options = parser.parse_args()
    with running_system("--gateways", "2") as endpoints:
        row = asyncio.run(_events_seen(endpoints, options))
        rates = asyncio.run(transcoder.measure(endpoints, endpoints.admin_key))
    are_seen = row["p99"] < TARGET_MS and not row["lost"]
    is_fast = rates["ratio"] >= transcoder.TARGET_RATIO
    if options.json:
        shapes = {"events-seen": row, "transcoder": rates}
        print(json.dumps({"shapes": shapes, "met": are_seen and is_fast}, indent=2))
        return
    print("events-seen", *(f"{name} {value:10.2f}" for name, value in row.items()))
    print(f"p99 below {TARGET_MS:g} ms, none lost: {'met' if are_seen else 'NOT MET'}")
    print("transcoder", *(f"{name} {value:10.2f}" for name, value in rates.items()))
    print(f"ratio from {transcoder.TARGET_RATIO:g}: {'met' if is_fast else 'NOT MET'}")


if __name__ == "__main__":
    main()
