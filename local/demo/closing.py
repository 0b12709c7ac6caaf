"""Asks Headgate again about every call of a run, and writes down what it booked for each.

What was acknowledged must stand: a receipt is asked for again by its own report, a release by
itself. What got no answer is mended: a lost report is sent again, a call whose admission nobody
saw is released. What nobody reported must have expired at its hold.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import grpc.aio

from headgate.api.common.v1 import call_pb2
from headgate.api.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from headgate.channel import authorization
from local.demo.journal import Entry
from local.demo.operator import RETRY_DELAY_SECONDS, persistently
from local.demo.provider.bill import Usage, charge, load_prices
from local.demo.reconciliation import Booking, Ending

R = TypeVar("R")

BATCH_SIZE: Final = 64
TRY_COUNT_MAX: Final = 20
RELEASE_COUNT_MAX: Final = 16
RPC_SECONDS_MAX: Final = 10.0
_ENDINGS: Final = {
    gateway_pb2.FINISHED_STATE_RELEASED: Ending.RELEASED,
    gateway_pb2.FINISHED_STATE_EXPIRED: Ending.UNREPORTED,
}


@dataclass(slots=True, kw_only=True)
class Closing:
    """What came out of asking again."""

    bookings: list[Booking] = field(default_factory=list)
    # One sentence for each acknowledgement that does not stand.
    violations: list[str] = field(default_factory=list)


class Auditor:
    """Asks on behalf of the backends, with their own keys."""

    def __init__(self, channel: grpc.aio.Channel, *, api_keys: Mapping[str, str]) -> None:
        self._stub = gateway_pb2_grpc.GatewayServiceStub(channel)
        self._metadata = {org: authorization(key) for org, key in api_keys.items()}

    async def mend(self, entries: Iterable[Entry]) -> None:
        """Sends lost reports again, and releases what never left: calls that nobody saw admitted.

        The SDK gives both up when services stay away for long.
        """
        entries = list(entries)
        unseen = [each for each in entries if not each.admitted and not each.surely_denied]
        await self._finish_all(unseen)
        for batch in _batches(each for each in entries if each.report and not each.receipt):
            await self._report(batch)

    async def close(self, entries: Iterable[Entry]) -> Closing:
        """Asks about every call; holds must have ended before."""
        closing = Closing()
        known = [each for each in entries if not each.surely_denied]
        for batch in _batches(each for each in known if each.report is not None):
            for entry, result in zip(batch, await self._report(batch), strict=True):
                _book_report(closing, entry, result)
        others = [each for each in known if each.report is None]
        for entry, finished in zip(others, await self._finish_all(others), strict=True):
            _book_finished(closing, entry, finished)
        return closing

    async def _report(self, entries: Sequence[Entry]) -> Sequence[gateway_pb2.CompletionResult]:
        """Sends reports of one org; members that could not be answered now are sent again."""
        request = gateway_pb2.CompleteCallsRequest(
            calls=[each.report for each in entries if each.report is not None]
        )
        for _ in range(TRY_COUNT_MAX):
            answer: gateway_pb2.CompleteCallsResponse = await self._call(
                self._stub.CompleteCalls, request, entries[0].org
            )
            if not any(_is_passing(result.error) for result in answer.results):
                break
            await asyncio.sleep(RETRY_DELAY_SECONDS)
        return answer.results

    async def _finish_all(self, entries: Sequence[Entry]) -> list[gateway_pb2.FinishedCall]:
        limit = asyncio.Semaphore(RELEASE_COUNT_MAX)

        async def finish(entry: Entry) -> gateway_pb2.FinishedCall:
            request = gateway_pb2.ReleaseCallRequest(org=entry.org, call_id=entry.call_id)
            async with limit:
                answer = await self._call(self._stub.ReleaseCall, request, entry.org)
            return answer.finished

        return await asyncio.gather(*map(finish, entries))

    async def _call(self, method: Callable[..., Awaitable[R]], request: Any, org: str) -> R:
        metadata = self._metadata[org]
        return await persistently(
            lambda: method(request, timeout=RPC_SECONDS_MAX, metadata=metadata)
        )


def _batches(entries: Iterable[Entry]) -> Iterable[Sequence[Entry]]:
    """Groups by org, because a key acts for one."""
    ordered = sorted(entries, key=lambda each: each.org)
    for _, members in itertools.groupby(ordered, key=lambda each: each.org):
        rest = list(members)
        for start in range(0, len(rest), BATCH_SIZE):
            yield rest[start : start + BATCH_SIZE]


def _is_passing(error: call_pb2.CallError) -> bool:
    return error.code in (
        grpc.StatusCode.UNAVAILABLE.value[0],
        grpc.StatusCode.DEADLINE_EXCEEDED.value[0],
    )


def _book_report(closing: Closing, entry: Entry, result: gateway_pb2.CompletionResult) -> None:
    known, receipt = entry.receipt, result.receipt
    if not result.HasField("receipt"):
        closing.violations.append(
            f"the report of call {entry.call_id} is refused: {result.error.reason}"
        )
        return
    if known is not None and not receipt.replayed:
        closing.violations.append(
            f"the completion of call {entry.call_id} was acknowledged and then lost"
        )
    if known is not None and known.total_nanos != receipt.total_nanos:
        closing.violations.append(
            f"call {entry.call_id} was acknowledged at {known.total_nanos} nano-dollars and is now"
            f" booked at {receipt.total_nanos}"
        )
    if receipt.cost_basis == call_pb2.COST_BASIS_HOLD:
        ending, due = Ending.UNREPORTED, entry.held_nanos
    elif entry.cancelled:
        ending, due = Ending.CANCELLED, price_report(entry)
    else:
        # What these cost is on the provider's bill.
        ending, due = Ending.REPORTED, receipt.total_nanos
    _check_due(closing, entry, ending, due=due, booked=receipt.total_nanos)
    closing.bookings.append(_book(entry, ending, receipt.total_nanos, logged=True))


def _book_finished(closing: Closing, entry: Entry, finished: gateway_pb2.FinishedCall) -> None:
    ending = _ENDINGS.get(finished.state)
    if ending is None:
        state = gateway_pb2.FinishedState.Name(finished.state)
        closing.violations.append(f"call {entry.call_id} was never reported, yet it is {state}")
        return
    if entry.released and ending is not Ending.RELEASED:
        closing.violations.append(f"call {entry.call_id} was released and then {ending.value}")
    if ending is Ending.UNREPORTED and entry.admitted:
        _check_due(closing, entry, ending, due=entry.held_nanos, booked=finished.settled_nanos)
    if entry.admitted or ending is not Ending.RELEASED:
        closing.bookings.append(_book(entry, ending, finished.settled_nanos, logged=False))


def price_report(entry: Entry) -> int:
    """Returns what the reported meters cost at the provider's own prices, in nano-US-dollars."""
    assert entry.report is not None
    meters = entry.report.meters
    usage = Usage(
        prompt_tokens=meters.input_token_count + meters.cache_read_token_count,
        cached_tokens=meters.cache_read_token_count,
        completion_tokens=meters.output_token_count + meters.reasoning_token_count,
        reasoning_tokens=meters.reasoning_token_count,
    )
    return charge(usage, load_prices()[entry.provider, entry.model])


def _check_due(closing: Closing, entry: Entry, ending: Ending, *, due: int, booked: int) -> None:
    if booked != due:
        closing.violations.append(
            f"{ending.value} call {entry.call_id} of {entry.org} is booked at {booked}"
            f" nano-dollars instead of {due}"
        )


def _book(entry: Entry, ending: Ending, nanos: int, *, logged: bool) -> Booking:
    return Booking(
        call_id=entry.call_id,
        org=entry.org,
        operation=entry.operation,
        provider=entry.provider,
        admit_time=entry.admit_time or entry.ask_time or datetime.now(UTC),
        ending=ending,
        nanos=nanos,
        logged=logged,
    )
