"""One run of the demo, from an empty stage to closed books."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import httpx2

from headgate.channel import open_channel
from local.demo import journal, rest, stage, stand_in, trace, traffic
from local.demo.acts import ORPHAN_COUNT, Act, Acts, check_kills
from local.demo.client import TappedClient
from local.demo.closing import Auditor
from local.demo.endpoints import Endpoints
from local.demo.journal import Journal
from local.demo.operator import Operator
from local.demo.orphans import Orders
from local.demo.outcome import Outcome
from local.demo.provider_client import ProviderClient
from local.demo.reconciliation import Charge, reconcile
from local.demo.screen import Picture
from local.demo.stage import ORGS
from local.demo.traffic import Backends, Script

# The provider is slow, but never silent for so long.
PROVIDER_SECONDS_MAX: Final = 120.0
CONNECTION_COUNT_MAX: Final = 2_000
STATUS_SECONDS: Final = 0.5
# When acts begin, as shares of the run.
BREAKER_SHARE: Final = 0.1
OTHERS_SHARE: Final = 0.25
ORPHANED_ORG: Final = ORGS[1]
CLOSING: Final = "closing the books"
BILL_NAME: Final = "bill.jsonl"
JOURNAL_NAMES: Final = ("backends.jsonl", "orphans.jsonl")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a run is played."""

    # How long calls arrive, and how many a second on average.
    seconds: float
    rate: float
    # File with a recorded trace. None: a generated one.
    trace: Path | None = None
    seed: int = 0
    # Divides the provider's latencies.
    speed: float = 1.0
    # Share of calls that the provider fails, 0 to 1.
    error_rate: float = 0.02
    # How long the audience may look at an outage, at a cap that denies, and at a kill.
    look_seconds: float = 4.0

    def write_scripts(self) -> list[Script]:
        """Returns the calls that are to be made. Raises `LocalError` for a trace of no use."""
        if self.trace is None:
            arrivals = trace.generate(seed=self.seed, rate=self.rate, seconds=self.seconds)
        else:
            arrivals = trace.load(self.trace, rate=self.rate, seconds=self.seconds)
        return traffic.write_scripts(arrivals, seed=self.seed)


@dataclass(slots=True, kw_only=True)
class Demo:
    """A run against one Headgate."""

    endpoints: Endpoints
    options: Options
    # Gets the bill and the journals.
    folder: Path
    picture: Picture

    async def run(self) -> Outcome:
        """Plays everything and closes the books.

        Raises `LocalError` for what is in the way, AioRpcError if a service stays away.
        """
        scripts = self.options.write_scripts()
        start = datetime.now(UTC).date()
        async with open_channel(self.endpoints.target, insecure=True) as channel:
            operator = Operator(channel, admin_key=self.endpoints.admin_key)
            await operator.check_answer()
            await stage.set_up(operator)
            self.picture.phase = "waiting for calls of an earlier demo to expire"
            before = await rest.read_at_rest(operator, start=start)
            self.picture.phase = "playing"
            async with self._stage(operator) as acts:
                told = await self._play(acts, scripts)

            self.picture.phase = CLOSING
            entries = list(journal.read(self._journals()).values())
            auditor = Auditor(channel, api_keys=self.endpoints.api_keys)
            await auditor.mend(entries)
            await rest.read_at_rest(operator, start=start)
            closing = await auditor.close(entries)
            checks = await rest.wait_for_agreement(operator, before, closing.bookings, start=start)
        return Outcome(
            acts=told,
            statement=reconcile(read_bill(self.folder / BILL_NAME), closing.bookings),
            checks=checks,
            violations=[*closing.violations, *check_kills(entries, acts.kill_windows)],
            tally=self.picture.tally,
            seconds=time.monotonic() - self.picture.tally.start,
        )

    @asynccontextmanager
    async def _stage(self, operator: Operator) -> AsyncIterator[Acts]:
        """Runs the provider and the backends; at its end all reports are out, the bill is full."""
        tally = self.picture.tally
        async with AsyncExitStack() as stack:
            provider = await stack.enter_async_context(
                stand_in.running(
                    self.folder / BILL_NAME,
                    seed=self.options.seed,
                    speed=self.options.speed,
                    error_rate=self.options.error_rate,
                )
            )
            http = await stack.enter_async_context(
                httpx2.AsyncClient(
                    timeout=PROVIDER_SECONDS_MAX,
                    limits=httpx2.Limits(max_connections=CONNECTION_COUNT_MAX),
                )
            )
            record = stack.enter_context(Journal(path=self.folder / JOURNAL_NAMES[0]))
            clients = {
                org: await stack.enter_async_context(
                    TappedClient(
                        self.endpoints.target,
                        api_key=self.endpoints.api_keys[org],
                        journal=record,
                        tally=tally,
                    )
                )
                for org in ORGS
            }
            backends = Backends(
                clients=clients,
                provider=ProviderClient(http=http, url=provider.url),
                tally=tally,
            )
            watching = asyncio.create_task(self._watch(operator))
            stack.callback(watching.cancel)
            await backends.warm_up(gateway_count=len(self.endpoints.gateways))
            # The audience came for what follows.
            tally.orgs.clear()
            yield Acts(
                operator=operator,
                backends=backends,
                provider=provider,
                tally=tally,
                look_seconds=self.options.look_seconds,
            )

    async def _play(self, acts: Acts, scripts: Sequence[Script]) -> list[Act]:
        seconds = self.options.seconds
        async with asyncio.TaskGroup() as group:
            group.create_task(acts.backends.play(scripts))
            breaker = group.create_task(self._play_breaker(acts, BREAKER_SHARE * seconds))
            others = group.create_task(self._play_others(acts, OTHERS_SHARE * seconds))
        return [*others.result(), breaker.result()]

    async def _play_breaker(self, acts: Acts, delay_seconds: float) -> Act:
        await asyncio.sleep(delay_seconds)
        return await acts.trip_breaker()

    async def _play_others(self, acts: Acts, delay_seconds: float) -> list[Act]:
        """Plays one after the other: a kill would hide a cap."""
        await asyncio.sleep(delay_seconds)
        orders = Orders(
            target=self.endpoints.target,
            api_key=self.endpoints.api_keys[ORPHANED_ORG],
            provider_url=acts.provider.url,
            journal_path=str(self.folder / JOURNAL_NAMES[1]),
            org=ORPHANED_ORG,
            call_count=ORPHAN_COUNT,
        )
        return [
            await acts.strand_callers(orders),
            await acts.trip_limit(),
            await acts.pull_kill_switch(),
        ]

    async def _watch(self, operator: Operator) -> None:
        while True:
            self.picture.observe(await operator.get_status())
            await asyncio.sleep(STATUS_SECONDS)

    def _journals(self) -> Iterator[Path]:
        """Yields those that were begun."""
        for name in JOURNAL_NAMES:
            path = self.folder / name
            if path.exists():
                yield path


def read_bill(path: Path) -> list[Charge]:
    """Reads what the provider charged."""
    with path.open(encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    return [
        Charge(call_id=line["id"], nanos=line["nanos"], cut=line["ended"] == "cut")
        for line in lines
    ]
