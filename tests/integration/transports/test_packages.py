"""The real packages of four providers, governed, against the provider stand-in."""

from __future__ import annotations

import gc
from collections.abc import Callable

import pytest

import headgate
from headgate.api.common.v1 import call_pb2
from headgate.testing import FakeGateway
from local.demo.stand_in import StandInProcess
from tests.integration.transports.books import bill, billed, reported, reports
from tests.integration.transports.doors import DOORS, MODEL, Caller, Door, is_new

MakeCaller = Callable[..., Caller]


@pytest.fixture(params=DOORS, ids=repr)
def door(request: pytest.FixtureRequest) -> Door:
    found: Door = request.param
    return found


async def test_a_call_goes_to_the_admitted_model_and_is_reported_as_billed(
    door: Door, gateway: FakeGateway, caller: Caller, providers: StandInProcess
) -> None:
    answer = await caller.ask()
    (report,), (line,) = reports(gateway), bill(providers)

    assert answer.text.startswith("word")
    assert answer.model == door.candidates[0][1] != MODEL
    assert report.outcome == call_pb2.CALL_OUTCOME_SUCCEEDED
    assert reported(report) == billed(line)
    assert [line["id"]] == [each.call_id for each in gateway.ledger.entries.values()]


async def test_a_stream_is_reported_as_billed(
    gateway: FakeGateway, caller: Caller, providers: StandInProcess
) -> None:
    text = await caller.stream()
    (report,), (line,) = reports(gateway), bill(providers)

    assert text.startswith("word")
    assert report.outcome == call_pb2.CALL_OUTCOME_SUCCEEDED
    assert reported(report) == billed(line)


async def test_an_outage_of_the_first_provider_is_survived_by_the_second(
    door: Door, gateway: FakeGateway, caller: Caller, providers: StandInProcess
) -> None:
    await providers.set_outage(door.candidates[0][0], seconds=60)
    answer = await caller.ask()
    streamed = await caller.stream()
    first, second, *_ = gateway.ledger.entries.values()

    assert answer.model == door.candidates[1][1]
    assert streamed.startswith("word")
    assert second.parent_call_id == first.call_id
    assert [each.outcome for each in reports(gateway)] == [
        call_pb2.CALL_OUTCOME_PROVIDER_FAILED,
        call_pb2.CALL_OUTCOME_SUCCEEDED,
    ] * 2


async def test_when_every_candidate_fails_the_providers_own_error_is_raised(
    door: Door, gateway: FakeGateway, caller: Caller, providers: StandInProcess
) -> None:
    for name, _ in door.candidates:
        await providers.set_outage(name, seconds=60)

    with pytest.raises(door.error) as raised:
        await caller.ask()
    assert not isinstance(raised.value, headgate.HeadgateError)
    assert len(reports(gateway)) == 2
    assert gateway.ledger.held_nanos("acme") == 0


async def test_when_every_candidate_fails_the_fallback_text_can_be_the_answer(
    door: Door, gateway: FakeGateway, make_caller: MakeCaller, providers: StandInProcess
) -> None:
    for name, _ in door.candidates:
        await providers.set_outage(name, seconds=60)
    caller = make_caller(on_refused="fallback")

    assert (await caller.ask()).text == gateway.ledger.fallback_text
    assert await caller.stream() == gateway.ledger.fallback_text


@pytest.mark.parametrize("streams", [False, True])
async def test_a_denial_reaches_no_provider_and_is_raised_once_as_it_is(
    gateway: FakeGateway, make_caller: MakeCaller, providers: StandInProcess, streams: bool
) -> None:
    gateway.ledger.killed = True
    caller = make_caller(retries=2)

    with pytest.raises(headgate.Denied) as denied:
        await (caller.stream() if streams else caller.ask())
    assert denied.value.fallback_text == gateway.ledger.fallback_text
    assert gateway.count("AdmitCall") == 1
    assert bill(providers) == []


async def test_a_denial_can_be_answered_by_the_fallback_text(
    gateway: FakeGateway, make_caller: MakeCaller, providers: StandInProcess
) -> None:
    gateway.ledger.killed = True
    caller = make_caller(on_refused="fallback")

    assert (await caller.ask()).text == gateway.ledger.fallback_text
    assert await caller.stream() == gateway.ledger.fallback_text
    assert bill(providers) == []


@pytest.mark.parametrize("streams", [False, True])
async def test_usage_that_is_nonsense_is_missing_and_changes_nothing_for_the_caller(
    door: Door, gateway: FakeGateway, caller: Caller, streams: bool
) -> None:
    asked = caller.stream(fault="garbage") if streams else caller.ask(fault="garbage")
    if door.invalid is not None:
        # The package itself refuses the answer, and may forget the stream without closing it.
        with pytest.raises(door.invalid):
            await asked
        gc.collect()
        await gateway.wait_for_rpc("CompleteCall")
    else:
        await asked
    (report,) = reports(gateway)

    assert not report.HasField("meters")


def test_the_client_is_of_the_library_that_was_asked_for(door: Door, caller: Caller) -> None:
    assert is_new(caller.http) == (door.library is None)
