"""Passwords are hashed off the loop, a few at a time, and tell nobody who is staff."""

from __future__ import annotations

import asyncio
from typing import Literal

import argon2
import pytest

from chassis.errors import Overloaded
from gateway.staff import passwords as module
from gateway.staff.passwords import Passwords

CHEAP = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


async def test_a_password_matches_itself_in_any_spelling_and_no_other() -> None:
    passwords = Passwords(CHEAP)
    stored = await passwords.hash("caf\u00e9 au lait, double")

    assert stored.startswith("$argon2id$")
    assert await passwords.verify(stored, "cafe\u0301 au lait, double")
    assert not await passwords.verify(stored, "cafe au lait, double")
    assert "lait" not in stored


async def test_where_no_password_is_stored_one_is_verified_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    verified: list[str] = []

    class Hasher(argon2.PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:  # noqa: A002
            verified.append(str(hash))
            return super().verify(hash, password)

    passwords = Passwords(Hasher(time_cost=1, memory_cost=8, parallelism=1))

    assert not await passwords.verify(None, "of nobody")
    assert not await passwords.verify(None, "another one")
    assert len(verified) == 2
    assert len(set(verified)) == 1


async def test_more_than_can_wait_are_shed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING_COUNT_MAX", 3)
    passwords = Passwords(CHEAP)

    answers = await asyncio.gather(
        *(passwords.hash("a password of ours") for _ in range(5)), return_exceptions=True
    )

    assert [isinstance(each, Overloaded) for each in answers] == [False] * 3 + [True] * 2
    assert await passwords.hash("a password of ours")
