"""API keys: how long a gateway trusts its memory of them."""

from __future__ import annotations

import asyncio

import pytest

from chassis.errors import StoreUnavailable, Unauthenticated
from gateway import keys
from gateway.auth import FRESH_SECONDS, REMEMBERED_COUNT_MAX
from gateway.principals import Principal
from tests.unit.gateway.stored_keys import MADE, Setup, shown

ADMIT = "/headgate.api.gateway.v1.GatewayService/AdmitCall"


@pytest.fixture
def setup() -> Setup:
    setup = Setup()
    setup.keys.put(MADE)
    return setup


async def test_a_key_is_looked_up_once_while_nothing_changes(setup: Setup) -> None:
    await setup.authenticate.refresh()

    first = await setup.authenticate(shown(MADE), ADMIT)
    again = await setup.authenticate(shown(MADE), ADMIT)

    assert first == again == setup.keys.stored[MADE.key_id].principal
    assert setup.keys.looked_up == [MADE.key_id]
    assert setup.authenticate.used == {MADE.key_id}


async def test_callers_at_once_share_a_lookup_and_one_may_give_up(setup: Setup) -> None:
    setup.keys.gate = asyncio.Event()
    callers = [asyncio.create_task(setup.authenticate(shown(MADE), ADMIT)) for _ in range(3)]
    await asyncio.sleep(0)
    callers[0].cancel()
    await asyncio.sleep(0)
    setup.keys.gate.set()
    answers = await asyncio.gather(*callers, return_exceptions=True)

    assert isinstance(answers[0], asyncio.CancelledError)
    assert answers[1:] == [setup.keys.stored[MADE.key_id].principal] * 2
    assert setup.keys.looked_up == [MADE.key_id]


async def test_a_revocation_binds_at_the_next_poll(setup: Setup) -> None:
    await setup.authenticate.refresh()
    await setup.authenticate(shown(MADE), ADMIT)
    setup.keys.put(MADE, remaining_seconds=0)

    await setup.authenticate(shown(MADE), ADMIT)
    await setup.authenticate.refresh()
    with pytest.raises(Unauthenticated, match="unknown, expired or revoked"):
        await setup.authenticate(shown(MADE), ADMIT)


async def test_a_key_ends_in_memory_too(setup: Setup) -> None:
    setup.keys.put(MADE, remaining_seconds=0.5)
    await setup.authenticate.refresh()
    await setup.authenticate(shown(MADE), ADMIT)
    setup.now += 0.4
    await setup.authenticate(shown(MADE), ADMIT)
    # The database says so too by now; nobody changed the key.
    setup.keys.put(MADE, remaining_seconds=-0.1)
    setup.keys.version -= 1

    setup.now += 0.1
    with pytest.raises(Unauthenticated):
        await setup.authenticate(shown(MADE), ADMIT)


async def test_a_notification_makes_the_next_poll_due_at_once(setup: Setup) -> None:
    polling = asyncio.create_task(setup.authenticate.keep_fresh(interval_seconds=3_600))
    await asyncio.sleep(0)
    await setup.authenticate(shown(MADE), ADMIT)
    setup.keys.put(MADE, remaining_seconds=0)
    setup.authenticate.woken.set()
    for _ in range(10):
        await asyncio.sleep(0)

    with pytest.raises(Unauthenticated):
        await setup.authenticate(shown(MADE), ADMIT)
    polling.cancel()


async def test_memory_without_a_fresh_poll_counts_for_nothing(setup: Setup) -> None:
    await setup.authenticate.refresh()
    await setup.authenticate(shown(MADE), ADMIT)
    setup.keys.put(MADE, remaining_seconds=0)
    setup.keys.is_down = True
    setup.now += FRESH_SECONDS

    with pytest.raises(StoreUnavailable):
        await setup.authenticate(shown(MADE), ADMIT)


async def test_a_lookup_from_before_a_revocation_is_not_remembered(setup: Setup) -> None:
    await setup.authenticate.refresh()
    early = await begin_lookup(setup)
    setup.keys.put(MADE, remaining_seconds=0)
    await setup.authenticate.refresh()
    setup.keys.open_gate()
    await early

    with pytest.raises(Unauthenticated):
        await setup.authenticate(shown(MADE), ADMIT)


async def test_nobody_joins_a_lookup_from_before_a_revocation(setup: Setup) -> None:
    await setup.authenticate.refresh()
    early = await begin_lookup(setup)
    setup.keys.put(MADE, remaining_seconds=0)
    await setup.authenticate.refresh()
    late = await begin_lookup(setup)
    setup.keys.open_gate()

    await early
    with pytest.raises(Unauthenticated):
        await late


async def begin_lookup(setup: Setup) -> asyncio.Task[Principal]:
    """Returns a caller whose key was read but not handed over yet."""
    setup.keys.gate = setup.keys.gate or asyncio.Event()
    count = len(setup.keys.looked_up)
    caller = asyncio.create_task(setup.authenticate(shown(MADE), ADMIT))
    for _ in range(10):
        if len(setup.keys.looked_up) > count:
            break
        await asyncio.sleep(0)
    return caller


async def test_an_unknown_key_is_known_once_it_was_made(setup: Setup) -> None:
    later = keys.make()
    await setup.authenticate.refresh()
    with pytest.raises(Unauthenticated):
        await setup.authenticate(shown(later), ADMIT)
    setup.keys.put(later)
    await setup.authenticate.refresh()

    principal = await setup.authenticate(shown(later), ADMIT)

    assert principal.actor == later.key_id


async def test_guesses_do_not_fill_the_memory(setup: Setup) -> None:
    await setup.authenticate.refresh()
    await setup.authenticate(shown(MADE), ADMIT)
    for number in range(REMEMBERED_COUNT_MAX):
        guess = keys.NewKey(key_id="k_guess", secret=f"hg_k_guess_{number:043d}")
        with pytest.raises(Unauthenticated):
            await setup.authenticate(shown(guess), ADMIT)
    setup.keys.looked_up.clear()

    await setup.authenticate(shown(MADE), ADMIT)

    assert setup.keys.looked_up == [MADE.key_id]


async def test_guesses_push_out_no_key_in_use(setup: Setup) -> None:
    await setup.authenticate.refresh()
    for number in range(2 * REMEMBERED_COUNT_MAX):
        guess = keys.NewKey(key_id="k_guess", secret=f"hg_k_guess_{number:043d}")
        with pytest.raises(Unauthenticated):
            await setup.authenticate(shown(guess), ADMIT)
        if not number % 1_000:
            await setup.authenticate(shown(MADE), ADMIT)

    assert setup.keys.looked_up.count(MADE.key_id) == 1


async def test_polling_survives_an_outage(setup: Setup) -> None:
    setup.keys.is_down = True
    polled = asyncio.Event()
    fetch = setup.keys.fetch_key_version
    count = 0

    async def counted() -> int:
        nonlocal count
        count += 1
        setup.keys.is_down = count < 3
        if count == 5:
            polled.set()
        return await fetch()

    setup.keys.fetch_key_version = counted  # type: ignore[method-assign]  # counts the polls
    polling = asyncio.create_task(setup.authenticate.keep_fresh(interval_seconds=0))
    await asyncio.wait_for(polled.wait(), 5)
    polling.cancel()

    await setup.authenticate(shown(MADE), ADMIT)
    await setup.authenticate(shown(MADE), ADMIT)

    assert setup.keys.looked_up == [MADE.key_id]
