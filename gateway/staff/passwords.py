"""Passwords: hashed with argon2id, in threads, a few at a time."""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import Callable
from typing import Final, TypeVar

import argon2

from chassis.errors import Overloaded

PASSWORD_LENGTH_MIN: Final = 12
PASSWORD_LENGTH_MAX: Final = 128
# One takes 64 MiB and most of a processor for a tenth of a second.
AT_ONCE_MAX: Final = 2
WAITING_COUNT_MAX: Final = 32

Result = TypeVar("Result")


class Passwords:
    """Hashes and verifies off the event loop; sheds when too many wait."""

    def __init__(self, hasher: argon2.PasswordHasher | None = None) -> None:
        self._hasher = hasher or argon2.PasswordHasher()
        self._places = asyncio.Semaphore(AT_ONCE_MAX)
        self._waiting_count = 0
        # Verified against where there is no account, so that both answers take as long.
        self._nobodys: str | None = None

    async def hash(self, password: str) -> str:
        """Returns what is stored of a password. Raises Overloaded."""
        return await self._run(lambda: self._hasher.hash(_normal(password)))

    async def verify(self, stored: str | None, password: str) -> bool:
        """Says whether the password is the stored one; takes as long if none is stored."""
        if stored is None:
            await self._run(lambda: self._matches(self._nobody(), password))
            return False
        return await self._run(lambda: self._matches(stored, password))

    def is_outdated(self, stored: str) -> bool:
        """Says whether the password should be hashed anew, because it was done more cheaply."""
        return self._hasher.check_needs_rehash(stored)

    def _nobody(self) -> str:
        if self._nobodys is None:
            self._nobodys = self._hasher.hash("of nobody")
        return self._nobodys

    def _matches(self, stored: str, password: str) -> bool:
        try:
            return self._hasher.verify(stored, _normal(password))
        except argon2.exceptions.VerifyMismatchError:
            return False

    async def _run(self, work: Callable[[], Result]) -> Result:
        if self._waiting_count >= WAITING_COUNT_MAX:
            raise Overloaded
        self._waiting_count += 1
        try:
            async with self._places:
                return await asyncio.to_thread(work)
        finally:
            self._waiting_count -= 1


def _normal(password: str) -> str:
    """Returns one spelling of characters that keyboards compose differently."""
    return unicodedata.normalize("NFKC", password)
