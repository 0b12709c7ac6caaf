"""The client's own life: keys, orgs, forks, event loops, misuse."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Coroutine
from pathlib import Path

import pytest

import headgate
from headgate.testing import API_KEY, FakeGateway, serve_gateway


async def test_an_unknown_key_is_refused(gateway: FakeGateway) -> None:
    async with headgate.Client(gateway.target, api_key="hg_k9_wrong") as client:
        with pytest.raises(headgate.Unauthenticated):
            await client.call("summarize").__aenter__()
        with pytest.raises(headgate.Unauthenticated):
            await client.status()


async def test_a_key_of_several_orgs_names_one_for_the_client_or_the_call(
    gateway: FakeGateway,
) -> None:
    gateway.keys["hg_k2_several"] = ("acme", "globex", "initech")
    async with headgate.Client(gateway.target, api_key="hg_k2_several", org="globex") as client:
        async with client.call("summarize") as first:
            first.release()
        async with client.call("summarize", org="initech") as second:
            second.report(output_tokens=1)

    assert first.admission is not None
    assert first.admission.org == "globex"
    assert second.admission is not None
    assert second.admission.org == "initech"
    assert gateway.ledger.settled_nanos("initech") > 0


async def test_a_call_says_all_that_its_caller_knows(
    gateway: FakeGateway, client: headgate.Client
) -> None:
    call = client.call(
        "summarize",
        input_tokens=10,
        input_bytes=4_000,
        labels={"ticket": "T-17"},
        exclude=[headgate.Candidate("openai", "gpt-4o-mini")],
    )
    async with call:
        assert call.provider == "anthropic"
        assert call.max_output_tokens == 256
        assert call.fallback_text == "Please try again later."
        call.report(output_tokens=1)

    assert call.admission is not None
    assert call.admission.held_nanos == 4_000 * 1_000 + 256 * 4_000


async def test_a_denial_is_raised_or_returned(
    gateway: FakeGateway, client: headgate.Client
) -> None:
    gateway.ledger.cap_nanos = 0
    with pytest.raises(headgate.Denied) as caught:
        await client.call("summarize").__aenter__()
    async with client.call("summarize", on_denied="return") as call:
        assert not call.admitted
        with pytest.raises(headgate.CallMisused, match="not been admitted"):
            _ = call.model

    assert call.denial is not None
    assert caught.value.decision.violations[0].owner == "finance@example.com"
    assert call.fallback_text == caught.value.fallback_text == "Please try again later."
    assert gateway.count("ReleaseCall") == 0


async def test_the_status_tells_whether_calls_pass(
    gateway: FakeGateway, client: headgate.Client
) -> None:
    healthy = await client.status()
    gateway.ledger.unfit_providers.add("openai")
    gateway.ledger.killed = True
    stopped = await client.status()

    assert healthy.state is headgate.ServiceState.HEALTHY
    assert stopped == headgate.Status(
        state=headgate.ServiceState.STOPPED,
        kill_messages=("Stopped.",),
        unfit_providers=("openai",),
        stale=False,
    )


async def test_a_call_is_used_in_its_block_and_once(client: headgate.Client) -> None:
    call = client.call("summarize")
    with pytest.raises(headgate.CallMisused):
        call.report(output_tokens=1)
    async with call:
        with pytest.raises(ValueError, match="output_token_count is -1"):
            call.report(output_tokens=-1)
        with pytest.raises(headgate.CallMisused, match="entered once"):
            await call.__aenter__()
    assert call.fallback_text
    with pytest.raises(headgate.CallMisused):
        call.fail(headgate.CallOutcome.REJECTED)
    with pytest.raises(headgate.CallMisused):
        call.release()


async def test_a_call_that_was_not_entered_has_no_fallback_text(client: headgate.Client) -> None:
    call = client.call("summarize")

    assert (call.fallback_text, call.admitted, call.survivable) == ("", False, False)


async def test_a_value_that_fits_no_field_is_refused_before_anything_is_sent(
    gateway: FakeGateway, client: headgate.Client
) -> None:
    with pytest.raises(ValueError, match="out of range"):
        await client.call("summarize", input_tokens=2**63).__aenter__()
    assert gateway.rpcs == []


async def test_a_client_serves_one_event_loop_at_a_time(
    gateway: FakeGateway, client: headgate.Client
) -> None:
    await client.status()
    raised: list[BaseException] = []

    def run_elsewhere() -> None:
        try:
            asyncio.run(client.status())
        except headgate.CallMisused as error:
            raised.append(error)

    thread = threading.Thread(target=run_elsewhere)
    thread.start()
    await asyncio.to_thread(thread.join)

    assert [str(each) for each in raised] == ["a client serves one event loop; make one for each"]


def test_a_client_connects_anew_when_its_event_loop_is_gone() -> None:
    fake = FakeGateway()
    clients: list[headgate.Client] = []

    async def main() -> headgate.ServiceState:
        async with serve_gateway(fake):
            if not clients:
                clients.append(headgate.Client(fake.target, api_key=API_KEY))
            return (await clients[0].status()).state

    assert [asyncio.run(main()), asyncio.run(main())] == [headgate.ServiceState.HEALTHY] * 2


async def test_a_call_that_ends_where_no_loop_runs_is_reported_by_the_background_loop(
    gateway: FakeGateway, client: headgate.Client
) -> None:
    call = client.call("summarize")
    await call.__aenter__()
    ending = call.__aexit__(None, None, None)

    assert await asyncio.to_thread(_drive, ending) is False
    await gateway.wait_for_end(call.call_id)
    assert gateway.ledger.held_nanos("acme") == 0


def _drive(coroutine: Coroutine[object, None, bool]) -> bool:
    """Returns what a coroutine returns that has nothing to wait for."""
    try:
        coroutine.send(None)
    except StopIteration as result:
        return bool(result.value)
    raise AssertionError("it waits")


async def test_a_connection_of_a_parent_process_is_not_used_in_its_child(
    gateway: FakeGateway, client: headgate.Client
) -> None:
    await client.status()
    theirs = client.desk._connection
    assert theirs is not None
    # What a forked child would find.
    theirs.process_id = os.getppid()
    await client.status()

    assert client.desk._connection is not theirs
    await theirs.close()


async def test_a_client_made_before_a_fork_works_in_the_child(gateway: FakeGateway) -> None:
    program = textwrap.dedent(
        """
        import asyncio, os, sys
        import headgate

        client = headgate.Client(sys.argv[1], api_key=sys.argv[2])

        async def main():
            async with client.call("summarize") as call:
                call.report(output_tokens=1)
            await client.close()

        child = os.fork()
        asyncio.run(main())
        if child:
            _, status = os.waitpid(child, 0)
            sys.exit(os.waitstatus_to_exitcode(status))
        """
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program, gateway.target, API_KEY),
        env={**os.environ, "PYTHONPATH": str(Path(headgate.__file__).parents[1])},
        stderr=subprocess.PIPE,
    )
    _, stderr = await process.communicate()

    assert process.returncode == 0, stderr.decode()
    assert len(gateway.ledger.entries) == 2
    assert gateway.ledger.held_nanos("acme") == 0
