"""API keys: their form, and how long a gateway trusts its memory of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from chassis.errors import PermissionDenied, StoreUnavailable, Unauthenticated
from gateway import keys
from gateway.auth import FRESH_SECONDS, REMEMBERED_COUNT_MAX, KeyAuthenticator, StoredKey
from gateway.keys import Principal, Role

ADMIT = "/headgate.api.gateway.v1.GatewayService/AdmitCall"
KILL = "/headgate.api.gateway.v1.AdminService/Kill"
# Fixed, because it stands in the names of tests.
MADE = keys.NewKey(key_id="k_made", secret="hg_k_made_" + "M" * 43)


class Keys:
    """Keys in a dict, with a version and an outage."""

    def __init__(self) -> None:
        self.stored: dict[str, StoredKey] = {}
        self.version = 1
        self.looked_up: list[str] = []
        self.is_down = False
        self.gate: asyncio.Event | None = None

    def put(self, made: keys.NewKey, *, role: Role = Role.BACKEND, revoked: bool = False) -> None:
        principal = Principal(key_id=made.key_id, role=role, orgs=frozenset({"acme"}))
        self.stored[made.key_id] = StoredKey(
            principal=principal, key_hash=keys.hash_key(made.secret), revoked=revoked
        )
        self.version += 1

    def open_gate(self) -> None:
        assert self.gate is not None
        self.gate.set()

    async def fetch_key(self, key_id: str) -> StoredKey | None:
        self.looked_up.append(key_id)
        found = self.stored.get(key_id)
        if self.gate is not None:
            await self.gate.wait()
        if self.is_down:
            raise StoreUnavailable
        return found

    async def fetch_key_version(self) -> int:
        if self.is_down:
            raise StoreUnavailable
        return self.version


class Setup:
    def __init__(self) -> None:
        self.keys = Keys()
        self.now = 100.0
        self.authenticate = KeyAuthenticator(self.keys, now=lambda: self.now)


def shown(made: keys.NewKey) -> Mapping[str, str]:
    return {"authorization": f"Bearer {made.secret}"}


@pytest.fixture
def setup() -> Setup:
    setup = Setup()
    setup.keys.put(MADE)
    return setup


def test_a_made_key_parses_and_no_two_are_equal() -> None:
    made, other = keys.make(), keys.make()

    assert keys.parse_key_id(made.secret) == made.key_id
    assert (made.secret, made.key_id) != (other.secret, other.key_id)
    assert len(keys.hash_key(made.secret)) == 32


@pytest.mark.parametrize(
    "key",
    [
        "",
        "hg_",
        "hg_k_short",
        MADE.secret[:-1],
        MADE.secret + "!",
        MADE.secret.replace("hg_", "xx_"),
        MADE.secret.replace("_k", "_K"),
        f"hg__{'A' * 43}",
        f"hg_k_{'A' * 129}",
        MADE.secret + "\n",
    ],
)
def test_other_texts_are_no_keys(key: str) -> None:
    assert keys.parse_key_id(key) is None


async def test_a_key_is_looked_up_once_while_nothing_changes(setup: Setup) -> None:
    await setup.authenticate.refresh()

    first = await setup.authenticate(shown(MADE), ADMIT)
    again = await setup.authenticate(shown(MADE), ADMIT)

    assert first == again == setup.keys.stored[MADE.key_id].principal
    assert setup.keys.looked_up == [MADE.key_id]


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
    setup.keys.put(MADE, revoked=True)

    await setup.authenticate(shown(MADE), ADMIT)
    await setup.authenticate.refresh()
    with pytest.raises(Unauthenticated, match="unknown or revoked"):
        await setup.authenticate(shown(MADE), ADMIT)


async def test_memory_without_a_fresh_poll_counts_for_nothing(setup: Setup) -> None:
    await setup.authenticate.refresh()
    await setup.authenticate(shown(MADE), ADMIT)
    setup.keys.put(MADE, revoked=True)
    setup.keys.is_down = True
    setup.now += FRESH_SECONDS

    with pytest.raises(StoreUnavailable):
        await setup.authenticate(shown(MADE), ADMIT)


async def test_a_lookup_from_before_a_revocation_is_not_remembered(setup: Setup) -> None:
    await setup.authenticate.refresh()
    early = await begin_lookup(setup)
    setup.keys.put(MADE, revoked=True)
    await setup.authenticate.refresh()
    setup.keys.open_gate()
    await early

    with pytest.raises(Unauthenticated):
        await setup.authenticate(shown(MADE), ADMIT)


async def test_nobody_joins_a_lookup_from_before_a_revocation(setup: Setup) -> None:
    await setup.authenticate.refresh()
    early = await begin_lookup(setup)
    setup.keys.put(MADE, revoked=True)
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

    assert principal.key_id == later.key_id


async def test_a_right_id_with_a_wrong_secret_is_refused(setup: Setup) -> None:
    forged = keys.NewKey(
        key_id=MADE.key_id, secret=MADE.secret[:-1] + ("A" if MADE.secret[-1] != "A" else "B")
    )

    with pytest.raises(Unauthenticated):
        await setup.authenticate(shown(forged), ADMIT)


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Basic abc", MADE.secret, "Bearer nonsense", "Bearer "]
)
async def test_without_a_key_nobody_is_somebody(setup: Setup, header: str | None) -> None:
    metadata = {} if header is None else {"authorization": header}

    with pytest.raises(Unauthenticated):
        await setup.authenticate(metadata, ADMIT)
    assert setup.keys.looked_up == []


@pytest.mark.parametrize(
    ("role", "method"),
    [(Role.BACKEND, KILL), (Role.ADMIN, ADMIT), (Role.ADMIN, "/headgate.x/New")],
)
async def test_a_role_may_call_its_own_methods_only(setup: Setup, role: Role, method: str) -> None:
    setup.keys.put(MADE, role=role)

    with pytest.raises(PermissionDenied) as refused:
        await setup.authenticate(shown(MADE), method)
    assert refused.value.metadata == {"role": role.value}


@pytest.mark.parametrize("role", Role)
async def test_every_key_may_ask_for_the_status(setup: Setup, role: Role) -> None:
    setup.keys.put(MADE, role=role)

    status = "/headgate.api.gateway.v1.GatewayService/GetStatus"
    assert (await setup.authenticate(shown(MADE), status)).role is role


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
