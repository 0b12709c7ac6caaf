"""Uses all of the SDK without a gateway; runs on every Python that the SDK supports.

It is no test module: `tests/e2e/test_pythons.py` runs it with other interpreters than its own,
in environments that have the SDK and its dependencies and nothing else.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator

import headgate
from headgate.testing import API_KEY, OUTPUT_NANOS, FakeGateway, serve_gateway

FIRST = "openai"


async def use_async_face(fake: FakeGateway, client: headgate.Client) -> None:
    async with client.call("summarize", max_output_tokens=9) as call:
        call.report(output_tokens=3)
    assert call.receipt is not None

    async def ask(made: headgate.Call) -> str:
        if made.provider == FIRST:
            raise ConnectionError
        made.report(output_tokens=1)
        return made.provider

    assert await client.run("summarize", ask) == "anthropic"
    assert await client.for_user("u-1").run("summarize", ask) == "anthropic"

    async def tokens(made: headgate.Call) -> AsyncIterator[int]:
        for count in range(1, 9):
            made.report(output_tokens=count)
            yield count

    stream = client.call("summarize").stream(tokens)
    async for count in stream:
        if count == 2:
            break
    await stream.aclose()
    await asyncio.gather(*(client.run("summarize", ask) for _ in range(50)))
    task = asyncio.ensure_future(wait_in_call(client))
    await fake.wait_until(lambda: fake.ledger.held_nanos("acme") > 0)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        pass
    else:
        raise AssertionError("the cancellation was swallowed")
    await fake.wait_until(lambda: fake.ledger.held_nanos("acme") == 0)


async def wait_in_call(client: headgate.Client) -> None:
    async with client.call("summarize"):
        await asyncio.Event().wait()


async def run_async() -> None:
    fake = FakeGateway()
    async with fake.client() as client:
        await use_async_face(fake, client)
    served = FakeGateway()
    async with serve_gateway(served), headgate.Client(served.target, api_key=API_KEY) as client:
        await use_async_face(served, client)
        late = client.call("summarize", timeout_seconds=0.2)
        pause = served.faults.pause("admit")
        reason = None
        try:
            await late.__aenter__()
        except headgate.Denied as denied:
            reason = denied.decision.reason
        assert reason is headgate.DenialReason.UNREACHABLE
        pause.resume.set()


def run_blocking() -> None:
    fake = FakeGateway()
    with fake.sync_client(reports="background") as client:

        @headgate.governed("summarize", client=client, input_bytes=len)
        def ask(call: headgate.SyncCall, text: str) -> str:
            call.report(output_tokens=len(text))
            return text

        @headgate.governed("summarize", client=client)
        def tokens(call: headgate.SyncCall) -> Iterator[int]:
            call.report(output_tokens=1)
            yield from range(3)

        assert ask("text") == "text"
        assert list(tokens()) == [0, 1, 2]
    assert fake.ledger.settled_nanos("acme") == 5 * OUTPUT_NANOS


def run_forked() -> None:
    fake = FakeGateway()
    client = fake.sync_client()
    with client.call("summarize") as call:
        call.report(output_tokens=1)
    child = os.fork()
    with client.call("summarize") as call:
        call.report(output_tokens=1)
    if not child:
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


if __name__ == "__main__":
    run_blocking()
    run_forked()
    asyncio.run(run_async())
    print("well on", sys.version.split()[0])
