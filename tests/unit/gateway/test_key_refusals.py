"""API keys: their form, and who is refused."""

from __future__ import annotations

import hmac
import types

import pytest

from chassis.errors import PermissionDenied, Unauthenticated
from gateway import auth, keys
from gateway.principals import Role
from tests.unit.gateway.stored_keys import MADE, Setup, shown

ADMIT = "/headgate.api.gateway.v1.GatewayService/AdmitCall"
KILL = "/headgate.api.gateway.v1.AdminService/Kill"


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
    assert role in (await setup.authenticate(shown(MADE), status)).roles


async def test_secrets_are_compared_by_their_digests_in_constant_time(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return hmac.compare_digest(one, other)

    monkeypatch.setattr(auth, "hmac", types.SimpleNamespace(compare_digest=compare))
    nearly = MADE.secret[:-1] + "N"
    with pytest.raises(Unauthenticated):
        await setup.authenticate({"authorization": f"Bearer {nearly}"}, ADMIT)

    assert compared == [(keys.hash_key(MADE.secret), keys.hash_key(nearly))]
