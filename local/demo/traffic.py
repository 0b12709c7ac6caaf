"""The backends of the demo: every arrival of the trace becomes a call, as several kinds of caller.

Most report what they used, some hang up in the middle of a stream, some forget to report.
"""

from __future__ import annotations

import asyncio
import enum
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import httpx2

import headgate
from local.demo.provider_client import Prompt, ProviderClient
from local.demo.stage import ORGS
from local.demo.tally import Tally
from local.demo.trace import Arrival
from local.errors import LocalError


class Manner(enum.Enum):
    """How a caller behaves."""

    PLAIN = "plain"
    STREAM = "stream"
    # Hangs up in the middle of a stream.
    CANCEL = "cancel"
    # Never tells what it used.
    SILENT = "silent"


MANNERS: Final = {
    Manner.PLAIN: 0.40,
    Manner.STREAM: 0.42,
    Manner.CANCEL: 0.12,
    Manner.SILENT: 0.06,
}
OPERATIONS: Final = {"demo-summarize": 0.35, "demo-chat": 0.40, "demo-classify": 0.25}
# A classification is short, whatever the trace says.
CLASSIFY_TOKENS_MAX: Final = 32
# Callers bound the output at what they expect plus a margin.
OUTPUT_MARGIN: Final = 1.3
CANCEL_PIECE_MAX: Final = 6
WARM_UP_SECONDS_MAX: Final = 60.0
WARM_UP_DELAY_SECONDS: Final = 0.25
# Of calls that only try what happens.
SHORT_INPUT_TOKENS: Final = 300
SHORT_OUTPUT_TOKENS: Final = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """One call that is to be made, and how."""

    at_seconds: float
    org: str
    operation: str
    manner: Manner
    input_tokens: int
    output_tokens: int
    # After how many pieces of its stream a caller hangs up.
    cancel_piece: int

    @property
    def max_output_tokens(self) -> int:
        """Bound of the output that the caller asks for."""
        return int(self.output_tokens * OUTPUT_MARGIN) + 16


def write_scripts(arrivals: Sequence[Arrival], *, seed: int) -> list[Script]:
    """Casts the arrivals: draws who calls, what for, and in which manner."""
    chance = random.Random(f"traffic:{seed}")
    return [_write_script(arrival, chance) for arrival in arrivals]


def _write_script(arrival: Arrival, chance: random.Random) -> Script:
    (operation,) = chance.choices(list(OPERATIONS), weights=list(OPERATIONS.values()))
    (manner,) = chance.choices(list(MANNERS), weights=list(MANNERS.values()))
    output_tokens = arrival.output_tokens
    if operation == "demo-classify":
        output_tokens = min(output_tokens, CLASSIFY_TOKENS_MAX)
    return Script(
        at_seconds=arrival.at_seconds,
        org=chance.choice(ORGS),
        operation=operation,
        manner=manner,
        input_tokens=arrival.input_tokens,
        output_tokens=output_tokens,
        cancel_piece=chance.randint(1, CANCEL_PIECE_MAX),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Backends:
    """All callers of the demo."""

    # By org: each has a key of its own.
    clients: Mapping[str, headgate.Client]
    provider: ProviderClient
    tally: Tally

    async def play(self, scripts: Sequence[Script]) -> None:
        """Makes each call at its time, whether or not earlier ones have ended."""
        start = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for script in scripts:
                await asyncio.sleep(max(start + script.at_seconds - time.monotonic(), 0.0))
                group.create_task(self.make_call(script))

    async def warm_up(self, *, gateway_count: int) -> None:
        """Returns when every gateway knows the demo's routes and prices; sends nothing on."""
        for operation in OPERATIONS:
            in_a_row, give_up = 0, time.monotonic() + WARM_UP_SECONDS_MAX
            while in_a_row < 2 * gateway_count:
                if time.monotonic() > give_up:
                    raise LocalError(f"the gateways do not admit {operation}: see their logs")
                passes = await self._would_pass(operation)
                in_a_row = in_a_row + 1 if passes else 0
                await asyncio.sleep(0 if passes else WARM_UP_DELAY_SECONDS)

    async def _would_pass(self, operation: str) -> bool:
        call = self.clients[ORGS[0]].call(
            operation, org=ORGS[0], input_tokens=1, max_output_tokens=1, on_denied="return"
        )
        try:
            async with call:
                if call.admitted:
                    call.release()
                return call.admitted
        except headgate.RpcError:
            return False

    async def make_call(self, script: Script) -> None:
        """Makes one call; denials and failures are part of the play."""
        call = self.clients[script.org].call(
            script.operation,
            org=script.org,
            input_tokens=script.input_tokens,
            max_output_tokens=script.max_output_tokens,
        )
        try:
            await call.run(lambda attempt: self._ask(attempt, script))
        except headgate.AllCandidatesFailed:
            self.tally.fallback_count += 1
        except (headgate.Denied, httpx2.HTTPError):
            # Both are on the tally already.
            return
        except headgate.RpcError as error:
            self.tally.note(f"no admission: {error}")

    async def try_call(self, org: str, operation: str) -> headgate.Denial | str | None:
        """Makes one short call; returns its denial, or the provider that answered, or neither."""
        call = self.clients[org].call(
            operation,
            org=org,
            input_tokens=SHORT_INPUT_TOKENS,
            max_output_tokens=2 * SHORT_OUTPUT_TOKENS,
            on_denied="return",
        )
        prompt = Prompt(
            input_tokens=SHORT_INPUT_TOKENS, output_tokens=SHORT_OUTPUT_TOKENS, stream=False
        )
        try:
            async with call:
                if call.denial is not None:
                    return call.denial
                await self.provider.ask(call, prompt)
                return call.provider
        except (headgate.RpcError, httpx2.HTTPError):
            return None

    async def _ask(self, call: headgate.Call, script: Script) -> None:
        prompt = Prompt(
            input_tokens=script.input_tokens,
            output_tokens=script.output_tokens,
            stream=script.manner in (Manner.STREAM, Manner.CANCEL),
            reported=script.manner is not Manner.SILENT,
        )
        caller = asyncio.current_task()
        pieces = 0

        def hang_up_midway() -> None:
            nonlocal pieces
            pieces += 1
            if script.manner is Manner.CANCEL and pieces == script.cancel_piece and caller:
                caller.cancel()

        await self.provider.ask(call, prompt, on_piece=hang_up_midway)
