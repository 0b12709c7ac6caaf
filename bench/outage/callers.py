"""Backends that call through governed HTTP clients, and write down what they saw."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

import httpx2

import headgate
from local.demo.stage import ANTHROPIC, OPENAI

# Operations, with their share of the calls: both candidates, or the failing one only.
TWO: Final = "outage-two"
ONE: Final = "outage-one"
PROVIDERS: Final = (OPENAI, ANTHROPIC)
ONE_EVERY: Final = 3
PROVIDER_SECONDS_MAX: Final = 60.0
OUTPUT_TOKENS: Final = 24
# Long enough for a machine that has other work, too.
ADMISSION_SECONDS_MAX: Final = 30.0
ROUTED_POLL_SECONDS: Final = 0.2
CONCLUDED: Final = "chatcmpl-headgate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one caller saw."""

    # Seconds since the start, when it asked and when it had everything.
    began: float
    ended: float
    org: str
    operation: str
    streams: bool
    # "answered", "fallback" (instead of an answer), "cut" (a stream that it ended), "error".
    outcome: str
    # Of the call that answered; empty: none did.
    call_id: str = ""
    provider: str = ""
    model: str = ""
    error: str = ""

    def to_line(self) -> dict[str, Any]:
        """Returns it for a file."""
        return asdict(self)


class Callers:
    """Makes calls at a steady rate, of several orgs and kinds in turn."""

    def __init__(self, target: str, keys: Mapping[str, str], providers_url: str) -> None:
        self._target = target
        self._keys = keys
        self._urls = {name: f"{providers_url}/{name}/v1" for name, _ in PROVIDERS}
        self._stack = AsyncExitStack()
        self._clients: dict[tuple[str, str], httpx2.AsyncClient] = {}
        self._bare: list[headgate.Client] = []
        self._start = time.monotonic()
        self.seen: list[Seen] = []
        # Of Headgate itself: nobody decided in time, for example.
        self.incidents: list[headgate.Incident] = []

    async def __aenter__(self) -> Self:
        for org, key in self._keys.items():
            client = headgate.Client(
                self._target,
                api_key=key,
                insecure=True,
                admission_timeout_seconds=ADMISSION_SECONDS_MAX,
                on_incident=self.incidents.append,
            )
            self._bare.append(await self._stack.enter_async_context(client))
            for operation in (ONE, TWO):
                self._clients[org, operation] = await self._stack.enter_async_context(
                    headgate.governed_async_client(
                        operation,
                        client=client,
                        providers=self._urls,
                        on_refused="fallback",
                    )
                )
                # Who waits for less has to know that what he gave up is billed all the same.
                self._clients[org, operation].timeout = httpx2.Timeout(PROVIDER_SECONDS_MAX)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def now(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    async def wait_until_routed(self, gateway_count: int) -> None:
        """Returns when every gateway knows routes and prices; nothing is sent to providers."""
        for operation, candidates in ((TWO, PROVIDERS), (ONE, PROVIDERS[:1])):
            for number, _ in enumerate(candidates):
                in_a_row = 0
                while in_a_row < 4 * gateway_count:
                    chosen = await self._choose(operation, candidates[:number])
                    in_a_row = in_a_row + 1 if chosen == candidates[number] else 0
                    await asyncio.sleep(0 if in_a_row else ROUTED_POLL_SECONDS)

    async def _choose(
        self, operation: str, excluded: Sequence[tuple[str, str]]
    ) -> tuple[str, str] | None:
        client = self._bare[0]
        exclude = [headgate.Candidate(*each) for each in excluded]
        call = client.call(operation, max_output_tokens=1, exclude=exclude, on_denied="return")
        async with call:
            if not call.admitted:
                return None
            call.release()
            return call.provider, call.model

    async def run(self, rate: float, stop: asyncio.Event) -> None:
        """Calls until told to stop; returns when all have ended."""
        self._start = time.monotonic()
        orgs = list(self._keys)
        async with asyncio.TaskGroup() as group:
            number = 0
            while not stop.is_set():
                operation = TWO if number % ONE_EVERY else ONE
                # Independent of the others, whatever the counts are.
                streams = number // ONE_EVERY % 2 == 0
                group.create_task(self._call(orgs[number % len(orgs)], operation, streams))
                number += 1
                await asyncio.sleep(max(0.0, number / rate - self.now))

    async def _call(self, org: str, operation: str, streams: bool) -> None:
        began = self.now
        try:
            facts = await self.ask(org, operation, streams=streams)
        except Exception as error:  # noqa: BLE001 - what the script is about
            facts = {"outcome": "error", "error": repr(error)[:300]}
        self.seen.append(
            Seen(
                began=began,
                ended=self.now,
                org=org,
                operation=operation,
                streams=streams,
                **facts,
            )
        )

    async def ask(self, org: str, operation: str, *, streams: bool) -> dict[str, Any]:
        """Makes one call; returns what came of it. Raises whatever the caller sees raised."""
        body: dict[str, Any] = {
            "model": OPENAI[1],
            "messages": [{"role": "user", "content": "word " * 40}],
            "max_completion_tokens": 2 * OUTPUT_TOKENS,
            "stream": streams,
        }
        client = self._clients[org, operation]
        headers = {"x-stand-in-output-tokens": str(OUTPUT_TOKENS)}
        url = f"{self._urls[OPENAI[0]]}/chat/completions"
        async with client.stream("POST", url, json=body, headers=headers) as answer:
            content = (await answer.aread()).decode()
            answer.raise_for_status()
        if answer.headers.get("x-headgate-fallback"):
            return {"outcome": "fallback"}
        if streams:
            pieces = content.split("\n\n")
            if "data: [DONE]" not in pieces[-2:]:
                raise EOFError("the stream has no end")
            cut = any(CONCLUDED in piece for piece in pieces)
        else:
            cut = not json.loads(content)["choices"][0]["message"]["content"]
        return {
            "outcome": "cut" if cut else "answered",
            "call_id": answer.headers["x-headgate-call-id"],
            "provider": answer.headers["x-headgate-provider"],
            "model": answer.headers["x-headgate-model"],
        }


def count(seen: Sequence[Seen]) -> dict[str, int]:
    """Counts calls by what came of them, and who answered."""
    counts: dict[str, int] = {}
    for each in seen:
        name = f"{each.outcome} {each.model}".strip()
        counts[name] = counts.get(name, 0) + 1
    return dict(sorted(counts.items()))
