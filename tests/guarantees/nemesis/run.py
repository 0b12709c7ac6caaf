"""One run: clients under a nemesis, then a rest in which all that is unknown is asked again."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg

from headgate.api.gateway.v1 import admin_pb2_grpc, gateway_pb2_grpc
from headgate.channel import open_channel
from tests.guarantees.callers import HOLD_SECONDS
from tests.guarantees.nemesis import books as bookkeeping
from tests.guarantees.nemesis import faults, history
from tests.guarantees.nemesis.asking import Asker
from tests.guarantees.nemesis.books import Books
from tests.guarantees.nemesis.caps import Cast, Operator
from tests.guarantees.nemesis.checker import Rules
from tests.guarantees.nemesis.clients import Clients, calling
from tests.guarantees.nemesis.faults import Nemesis, Step
from tests.guarantees.nemesis.fleet import Fleet
from tests.guarantees.nemesis.history import Action, Kind, Log, Operation
from tests.guarantees.nemesis.sampler import Samples, sampling

RESOLVE_SECONDS: Final = 10.0
RESOLVE_CONCURRENCY: Final = 16
REST_SECONDS_MAX: Final = 60.0
POLL_SECONDS: Final = 0.2
# Time for a look at expired holds every two seconds, on a busy machine.
SWEEP: Final = dt.timedelta(seconds=6)
# Faults that can keep no hold from its end.
HARMLESS: Final = frozenset({"kill-client", "skew", "slow"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the checker looks at."""

    operations: Sequence[Operation]
    books: Books
    rules: Rules
    samples: Samples


async def run(
    fleet: Fleet,
    folder: Path,
    *,
    seed: int,
    seconds: float,
    pace: float,
    say: Callable[[str], None],
) -> Outcome:
    """Lets clients call under faults for so long; returns when everything has come to rest."""
    steps = faults.schedule(seed, seconds=seconds, pace=pace)
    cast, start = Cast(), time.time()
    async with open_channel(fleet.endpoints["gateways"][0]) as channel:
        operator = Operator(
            admin_pb2_grpc.AdminServiceStub(channel), fleet.endpoints["admin_key"], cast
        )
        api_key = await operator.prepare()
        clients = Clients(
            folder=folder,
            seed=seed,
            gateways=fleet.proxied_gateways,
            api_key=api_key,
            orgs=cast.orgs,
        )
        async with sampling(fleet.endpoints["database_url"]) as samples:
            start = time.time()
            await _rage(fleet, clients, operator, steps, (seed, seconds, say))
            await fleet.wait_until_ready()
            await _resolve(fleet, folder, api_key)
            books = await _rest(fleet, cast)
    rules = Rules(
        hold=dt.timedelta(seconds=HOLD_SECONDS),
        sweep=SWEEP,
        outages=[_outage(step, start) for step in steps if step.kind not in HARMLESS],
        limits=cast.limits,
        rates=cast.rates,
    )
    return Outcome(operations=history.read(folder), books=books, rules=rules, samples=samples)


async def _rage(
    fleet: Fleet,
    clients: Clients,
    operator: Operator,
    steps: Sequence[Step],
    options: tuple[int, float, Callable[[str], None]],
) -> None:
    seed, seconds, say = options
    stop = asyncio.Event()
    nemesis = Nemesis(fleet, replace_client=clients.replace_one)
    async with calling(clients), asyncio.TaskGroup() as group:
        group.create_task(operator.move_caps(stop, random.Random(seed)))
        async with faults.raging(nemesis, steps, say):
            await asyncio.sleep(seconds)
        stop.set()


async def _resolve(fleet: Fleet, folder: Path, api_key: str) -> None:
    """Asks again, with the same ids and fields, whatever nobody knows the outcome of."""
    unknown = [each for each in history.read(folder) if each.kind is Kind.INFO]
    order = {Action.ADMIT: 0, Action.EXTEND: 1, Action.RELEASE: 2, Action.COMPLETE: 3}
    limit = asyncio.Semaphore(RESOLVE_CONCURRENCY)
    async with contextlib.AsyncExitStack() as stack:
        log = stack.enter_context(Log(folder / "resolver.jsonl", process="resolver"))
        stubs = [
            gateway_pb2_grpc.GatewayServiceStub(
                await stack.enter_async_context(open_channel(address))
            )
            for address in fleet.endpoints["gateways"]
        ]
        asker = Asker(stubs, api_key=api_key, log=log)

        async def settle(operation: Operation, number: int) -> None:
            kind = Kind.INFO
            async with limit, asyncio.timeout(REST_SECONDS_MAX):
                while kind is Kind.INFO:
                    kind, _ = await asker.ask(
                        operation.action,
                        operation.org,
                        operation.call_id,
                        operation.request,
                        gateway=number,
                        seconds=RESOLVE_SECONDS,
                    )

        for action in sorted(order, key=order.__getitem__):
            async with asyncio.TaskGroup() as group:
                for number, operation in enumerate(unknown):
                    if operation.action is action:
                        group.create_task(settle(operation, number))


async def _rest(fleet: Fleet, cast: Cast) -> Books:
    """Returns the books when nothing is held any more and every report has been settled."""
    connection = await asyncpg.connect(fleet.endpoints["database_url"])
    try:
        async with asyncio.timeout(REST_SECONDS_MAX):
            while not _is_at_rest(  # noqa: ASYNC110 - a database has no event for it
                books := await bookkeeping.read(connection), cast
            ):
                await asyncio.sleep(POLL_SECONDS)
        return books
    except TimeoutError:
        # The checker says what is wrong with them.
        return await bookkeeping.read(connection)
    finally:
        await connection.close()


def _is_at_rest(books: Books, cast: Cast) -> bool:
    settled = {(row.org, row.call_id): row.settled_nanos for row in books.ended if row.revision}
    return not any(row.org in cast.orgs for row in books.open) and all(
        settled.get((row.org, row.call_id)) == row.total_nanos for row in books.usage
    )


def _outage(step: Step, start: float) -> tuple[dt.datetime, dt.datetime]:
    began = dt.datetime.fromtimestamp(start + step.at, dt.UTC)
    return began, began + dt.timedelta(seconds=step.seconds + faults.RECOVERY_SECONDS)
