"""Reports in the background: not waited for, bounded, and delivered before the process ends."""

from __future__ import annotations

import asyncio
import textwrap
from datetime import timedelta

import grpc
import pytest

import headgate
from headgate import IncidentKind
from headgate.testing import API_KEY, OUTPUT_NANOS, Failure, FakeGateway
from tests.integration.headgate.programs import run_program

GONE = Failure(
    code=grpc.StatusCode.UNAVAILABLE,
    reason="PEER_UNAVAILABLE",
    retry_delay=timedelta(milliseconds=1),
)


@pytest.fixture
def fake() -> FakeGateway:
    return FakeGateway()


async def make_call(client: headgate.Client) -> headgate.Call:
    async with client.call("summarize") as call:
        call.report(output_tokens=1)
    return call


async def test_leaving_a_call_does_not_wait_for_its_report(fake: FakeGateway) -> None:
    pause = fake.faults.pause("complete")
    async with fake.client(reports="background") as client:
        call = await make_call(client)
        assert call.receipt is None
        pause.resume.set()

    assert call.receipt is not None
    assert fake.ledger.settled_nanos("acme") == OUTPUT_NANOS


async def test_a_network_that_is_slow_for_minutes_loses_no_report(
    fake: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each try takes longer than the first may.
    monkeypatch.setattr("headgate.connection.TRY_SECONDS_MAX", 0.01)
    pauses = [fake.faults.pause("complete") for _ in range(4)]
    fake.faults.plant("complete", *[GONE] * 5)
    async with fake.client(reports="background") as client:
        call = await make_call(client)
        await pauses[-1].reached.wait()
    assert call.receipt is not None


async def test_who_comes_when_too_many_are_under_way_waits_for_its_own(
    fake: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headgate.desk.BACKGROUND_COUNT_MAX", 2)
    async with fake.client(reports="background") as client:
        pause = fake.faults.pause("complete")
        for _ in range(2):
            await make_call(client)
        third = asyncio.create_task(make_call(client))
        await fake.wait_until(lambda: client.incidents.get(IncidentKind.REPORTS_FULL) == 1)
        assert not third.done()
        pause.resume.set()
        assert (await third).receipt is not None


async def test_what_is_lost_is_counted_and_told(fake: FakeGateway) -> None:
    lost: list[headgate.Incident] = []
    fake.faults.plant("complete", Failure(code=grpc.StatusCode.INTERNAL, reason="INTERNAL"))
    async with fake.client(reports="background", on_incident=lost.append) as client:
        call = await make_call(client)

    assert [(each.kind, each.call_id) for each in lost] == [
        (IncidentKind.REPORT_LOST, call.call_id)
    ]
    assert isinstance(lost[0].error, headgate.InternalError)


async def test_closing_leaves_to_the_background_what_takes_too_long(
    fake: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headgate.connection.CLOSE_SECONDS_MAX", 0.05)
    pause = fake.faults.pause("complete")
    async with fake.client(reports="background") as client:
        call = await make_call(client)
        await pause.reached.wait()
    await fake.wait_for_end(call.call_id)
    assert fake.count("CompleteCall") == 2


def test_an_event_loop_that_ends_without_closing_loses_no_report(fake: FakeGateway) -> None:
    client = fake.client(reports="background")
    fake.faults.plant("complete", *[GONE] * 3)

    async def main() -> list[headgate.Call]:
        return [await make_call(client) for _ in range(20)]

    calls = asyncio.run(main())

    async def wait() -> None:
        await fake.wait_until(lambda: fake.ledger.held_nanos("acme") == 0)

    asyncio.run(wait())
    assert len(calls) == 20
    assert fake.ledger.settled_nanos("acme") == 20 * OUTPUT_NANOS


HEAD = "target, key = sys.argv[1:]\n"
ENDINGS = {
    "async, never closed": """
        client = headgate.Client(target, api_key=key, reports="background")
        async def main():
            async with client.call("summarize") as call:
                call.report(output_tokens=1)
        asyncio.run(main())
    """,
    "blocking, never closed": """
        client = headgate.SyncClient(target, api_key=key, reports="background")
        with client.call("summarize") as call:
            call.report(output_tokens=1)
    """,
    "sys.exit": """
        client = headgate.SyncClient(target, api_key=key, reports="background")
        with client.call("summarize") as call:
            call.report(output_tokens=1)
            sys.exit()
    """,
    "an exception": """
        client = headgate.SyncClient(target, api_key=key, reports="background")
        with client.call("summarize") as call:
            call.report(output_tokens=1)
            raise SystemExit(0)
    """,
    "a child of multiprocessing": """
        client = headgate.SyncClient(target, api_key=key, reports="background")
        def work():
            with client.call("summarize") as call:
                call.report(output_tokens=1)
        process = multiprocessing.get_context("fork").Process(target=work)
        process.start()
        process.join()
        assert process.exitcode == 0
    """,
}


@pytest.mark.parametrize("ending", ENDINGS)
async def test_reports_under_way_are_delivered_before_the_process_ends(
    gateway: FakeGateway, ending: str
) -> None:
    # So the report is under way when the program has nothing left to do.
    gateway.faults.plant("complete", *[GONE] * 3)
    await run_program(HEAD + textwrap.dedent(ENDINGS[ending]), gateway.target, API_KEY)

    assert gateway.ledger.settled_nanos("acme") == OUTPUT_NANOS
    assert gateway.ledger.held_nanos("acme") == 0
