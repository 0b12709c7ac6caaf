"""Sessions of staff: who gets in, what ends them, and what guessing is worth."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import argon2
import asyncpg
import pytest

from chassis.errors import Overloaded
from gateway import tokens
from gateway.staff.passwords import Passwords
from headgate.api.gateway.v1 import admin_pb2
from tests.integration.gateway.people import (
    ADA,
    EVE,
    PASSWORD,
    VIEWER,
    Nobody,
    first_admin,
    grant,
    invited,
    pb,
    people,
)
from tests.integration.gateway.system import ACME_KEY, System, refusal
from tests.schemas import owner_url

ROUTES = admin_pb2.ListRoutesRequest()
PLANTED = tokens.make("hgs_")


def login(email: str = ADA, password: str = PASSWORD) -> pb.LoginRequest:
    return pb.LoginRequest(email=email, password=password)


async def change(system: System, statement: str, *values: Any) -> None:
    """Changes what no program would: the database's owner turns clocks."""
    connection = await asyncpg.connect(owner_url(system.url, "gateway"))
    await connection.execute("SET search_path TO gateway")
    await connection.execute(statement, *values)
    await connection.close()


async def is_over(system: System, token: str, *, at: str = "gateway") -> bool:
    """Whether a session has ended, once the second is up that it may take."""
    await asyncio.sleep(1.0)
    rpc = people(system, token, at=at).GetSession(pb.GetSessionRequest())
    try:
        await rpc
    except Exception:  # noqa: BLE001 - looked at below
        again = people(system, token, at=at).GetSession(pb.GetSessionRequest())
        assert (await refusal(again)).code == "UNAUTHENTICATED"
        return True
    return False


async def test_a_session_acts_as_its_owner_and_its_token_is_stored_nowhere(
    system: System,
) -> None:
    ada = await first_admin(system)
    token = ada.session.token

    session = await people(system, token).GetSession(pb.GetSessionRequest())
    await system.staff(token).PutRoute(
        admin_pb2.PutRouteRequest(
            route=admin_pb2.Route(
                operation="mine",
                candidates=[{"provider": "openai", "model": "gpt-4o-mini"}],  # type: ignore[list-item]
            )
        )
    )
    entries = (
        await system.staff().ListAuditEntries(admin_pb2.ListAuditEntriesRequest(page_size=2))
    ).entries
    rows = await system.fetch("gateway", "SELECT * FROM staff_session")
    everything = await system.fetch("gateway", "SELECT audit_entry::text FROM audit_entry")

    assert session.member == ada.member
    assert session.expire_time == ada.session.expire_time
    assert [each.action for each in entries] == ["PutRoute", "Bootstrap"]
    assert {each.actor for each in entries} == {ada.member.staff_id}
    assert [row["token_hash"] for row in rows] == [hashlib.sha256(token.encode()).digest()]
    assert not any(secret in str(everything) for secret in (token, PASSWORD))


async def test_each_login_makes_a_token_of_its_own_and_ends_the_one_that_was_shown(
    system: System,
) -> None:
    ada = await first_admin(system)
    first, nobody = ada.session.token, Nobody(system)

    planted = await nobody.Login(login(), shown=PLANTED)
    rotated = await nobody.Login(login(), shown=first)
    shown_tokens = {PLANTED, first, planted.session.token, rotated.session.token}

    assert len(shown_tokens) == 4
    refused = await refusal(people(system, PLANTED).GetSession(pb.GetSessionRequest()))
    assert refused.code == "UNAUTHENTICATED"
    assert await is_over(system, first)
    for token in (planted.session.token, rotated.session.token):
        await system.staff(token).ListRoutes(ROUTES)


async def test_a_logout_ends_the_session_on_every_gateway(system: System) -> None:
    await system.start("gateway-2")
    ada = await first_admin(system)
    token = ada.session.token
    await people(system, token, at="gateway-2").GetSession(pb.GetSessionRequest())

    await people(system, token).Logout(pb.LogoutRequest())

    assert await is_over(system, token)
    assert await is_over(system, token, at="gateway-2")


async def test_a_session_ends_without_use_and_by_its_age(system: System) -> None:
    ada = await first_admin(system)
    await change(system, "UPDATE staff_session SET use_time = now() - interval '3601 seconds'")
    # The gateways remember what the owner cannot tell them of.
    await change(system, "UPDATE key_book SET version = version + 1")
    assert await is_over(system, ada.session.token)

    second = (await Nobody(system).Login(login())).session.token
    rows = await system.fetch("gateway", "SELECT FROM staff_session")
    await change(system, "UPDATE staff_session SET expire_time = now()")
    await change(system, "UPDATE key_book SET version = version + 1")
    assert await is_over(system, second)
    assert len(rows) == 1, "the old session is gone"


async def test_the_same_answer_for_a_wrong_address_and_a_wrong_password(system: System) -> None:
    await first_admin(system)
    nobody = Nobody(system)

    wrong = await refusal(nobody.Login(login(password="not it at all")))
    unknown = await refusal(nobody.Login(login(email=EVE)))

    assert wrong == unknown
    assert (wrong.code, wrong.reason) == ("UNAUTHENTICATED", "LOGIN_FAILED")


async def test_after_five_failures_an_address_is_locked_known_or_not(system: System) -> None:
    await first_admin(system)
    nobody = Nobody(system)
    for email in (ADA, EVE):
        reasons = [
            (await refusal(nobody.Login(login(email, "not it at all")))).reason for _ in range(6)
        ]
        assert reasons == ["LOGIN_FAILED"] * 5 + ["LOGIN_LOCKED"]

    locked = await refusal(nobody.Login(login()))
    await change(system, "UPDATE login_failure SET lock_time = now()")
    again = await refusal(nobody.Login(login(password="not it at all")))
    longer = await refusal(nobody.Login(login()))

    assert locked.reason == "LOGIN_LOCKED", "the right password does not help"
    assert locked.retry_seconds is not None
    assert 0 < locked.retry_seconds <= 30
    assert again.reason == "LOGIN_FAILED"
    assert longer.retry_seconds is not None
    assert 30 < longer.retry_seconds <= 60
    await change(system, "UPDATE login_failure SET lock_time = now()")
    await nobody.Login(login())
    rows = await system.fetch("gateway", "SELECT email_hash FROM login_failure")
    assert [row["email_hash"] for row in rows] == [hashlib.sha256(EVE.encode()).digest()]


async def test_many_guesses_at_once_are_counted_as_many(system: System) -> None:
    await first_admin(system)
    nobody = Nobody(system)

    found = await asyncio.gather(
        *(refusal(nobody.Login(login(password=f"guess number {n}"))) for n in range(12))
    )

    reasons = [each.reason for each in found]
    assert reasons.count("LOGIN_FAILED") == 5
    assert reasons.count("LOGIN_LOCKED") == 7


async def test_a_new_password_ends_all_other_sessions(system: System) -> None:
    ada = await first_admin(system)
    first = ada.session.token
    second = (await Nobody(system).Login(login())).session.token
    wrong = await refusal(
        people(system, first).ChangePassword(
            pb.ChangePasswordRequest(current_password="not it", new_password=PASSWORD + "!")
        )
    )
    changed = await people(system, first).ChangePassword(
        pb.ChangePasswordRequest(current_password=PASSWORD, new_password=PASSWORD + "!")
    )

    assert wrong.reason == "LOGIN_FAILED"
    assert await is_over(system, first)
    assert await is_over(system, second)
    await people(system, changed.session.token).GetSession(pb.GetSessionRequest())
    assert (await refusal(Nobody(system).Login(login()))).reason == "LOGIN_FAILED"
    await Nobody(system).Login(login(password=PASSWORD + "!"))


async def test_a_key_has_no_session(system: System) -> None:
    keyed = people(system, ACME_KEY)
    for rpc in (
        keyed.Logout(pb.LogoutRequest()),
        keyed.GetSession(pb.GetSessionRequest()),
        keyed.ChangePassword(
            pb.ChangePasswordRequest(current_password=PASSWORD, new_password=PASSWORD)
        ),
    ):
        assert (await refusal(rpc)).code == "PERMISSION_DENIED"


async def test_uses_of_a_session_make_it_go_on(system: System) -> None:
    ada = await first_admin(system)
    eve = await invited(system, ada.session.token, EVE, grant(VIEWER))
    old = "UPDATE staff_session SET use_time = now() - interval '30 minutes'"
    await change(system, old)
    await system.staff(ada.session.token).ListRoutes(ROUTES)
    # What a gateway writes every twenty seconds it writes when it stops, too.
    await system.stop("gateway")
    rows = await system.fetch(
        "gateway",
        "SELECT staff_id FROM staff_session WHERE use_time > now() - interval '1 minute'",
    )
    await system.start("gateway")

    assert [row["staff_id"] for row in rows] == [ada.member.staff_id]
    assert eve.member.staff_id != ada.member.staff_id


async def test_a_login_hashes_a_password_anew_that_was_hashed_too_cheaply(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    await first_admin(system)
    cheap = argon2.PasswordHasher(time_cost=1, memory_cost=1_024)
    await change(system, "UPDATE staff SET password_hash = $1", cheap.hash(PASSWORD))

    async def outdated() -> bool:
        rows = await system.fetch("gateway", "SELECT password_hash FROM staff")
        return argon2.PasswordHasher().check_needs_rehash(rows[0]["password_hash"])

    nobody = Nobody(system)
    await refusal(nobody.Login(login(password="not it at all")))
    after_wrong = await outdated()

    async def shed(*_: object) -> str:
        raise Overloaded

    with monkeypatch.context() as busy:
        busy.setattr(Passwords, "hash", shed)
        await nobody.Login(login())
    after_busy = await outdated()
    await nobody.Login(login())

    assert (after_wrong, after_busy, await outdated()) == (True, True, False)
    await nobody.Login(login())
