"""What a provider's package does again by itself is admitted again, as another try of the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from headgate.testing import FakeGateway
from local.demo.stand_in import StandInProcess
from tests.integration.transports.doors import (
    AnthropicMessages,
    Caller,
    Door,
    GoogleContent,
    OpenAIChat,
)

MakeCaller = Callable[..., Caller]
KINDS = (OpenAIChat, AnthropicMessages, GoogleContent)


@pytest.fixture(params=[kind(blocks=b) for kind in KINDS for b in (False, True)], ids=repr)
def door(request: pytest.FixtureRequest) -> Door:
    found: Door = request.param
    return found


async def test_every_attempt_is_admitted_and_knows_the_first(
    door: Door, gateway: FakeGateway, make_caller: MakeCaller
) -> None:
    caller = make_caller(retries=1)
    with pytest.raises(door.error):
        await caller.ask(fault="500")
    calls = list(gateway.ledger.entries.values())

    # The package asks twice, each time one candidate after the other.
    assert len(calls) == 4
    assert [each.admission.candidate.model for each in calls if each.admission] == [
        model for _, model in door.candidates
    ] * 2
    assert [each.parent_call_id for each in calls] == ["", *[calls[0].call_id] * 3]
    assert gateway.ledger.held_nanos("acme") == 0


async def test_a_package_that_tries_again_succeeds_when_the_provider_is_back(
    door: Door, gateway: FakeGateway, make_caller: MakeCaller, providers: StandInProcess
) -> None:
    caller = make_caller(retries=3)
    for name, _ in door.candidates:
        await providers.set_outage(name, seconds=60)
    asking = asyncio.ensure_future(caller.ask())
    await gateway.wait_for_rpc("CompleteCall", count=2)
    for name, _ in door.candidates:
        await providers.set_outage(name, seconds=0)

    assert (await asking).text.startswith("word")


async def test_another_request_is_no_repetition(
    gateway: FakeGateway, make_caller: MakeCaller, door: Door
) -> None:
    caller = make_caller()
    with pytest.raises(door.error):
        await caller.ask(fault="500")
    await caller.ask()
    await caller.ask()
    *_, last = gateway.ledger.entries.values()

    assert last.parent_call_id == ""


async def test_what_others_ask_meanwhile_is_no_repetition(
    gateway: FakeGateway, make_caller: MakeCaller
) -> None:
    caller = make_caller()
    await asyncio.gather(*(caller.ask(fault="500") for _ in range(4)), return_exceptions=True)
    calls = gateway.ledger.entries.values()

    assert sum(each.parent_call_id == "" for each in calls) == 4
