"""Identities of calls: UUIDs of version 7, which sort by the time of their making."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Final

_RANDOM_BIT_COUNT: Final = 74
_RANDOM_MASK: Final = (1 << _RANDOM_BIT_COUNT) - 1
_LOW_BIT_COUNT: Final = 62
_LOW_MASK: Final = (1 << _LOW_BIT_COUNT) - 1
# Ids of one millisecond differ by a random step of up to 2^32, so that they can't be guessed.
_STEP_BYTE_COUNT: Final = 4
_STEP_COUNT: Final = 32
_VERSION_BITS: Final = 0x7 << 76
_VARIANT_BITS: Final = 0b10 << 62
_TIME_SHIFT: Final = 80


class IdMaker:
    """Makes UUIDv7s, each greater than the one before it in the same process.

    Safe to call from many threads, and after a fork: a child starts from fresh randomness, so it
    repeats no id of its parent. A clock that steps back makes no id smaller.
    """

    def __init__(
        self,
        *,
        read_clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        read_random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._read_clock_ms = read_clock_ms
        self._read_random = read_random
        self._start_afresh()

    def make(self) -> str:
        """Returns a new id in canonical lower case."""
        if self._process_id != os.getpid():
            self._start_afresh()
        with self._lock:
            self._advance()
            return _render(self._time_ms, self._random)

    def _start_afresh(self) -> None:
        # A new lock, because another thread may have held the old one at the fork.
        self._lock = threading.Lock()
        self._time_ms = -1
        self._random = 0
        # What was drawn and not yet used.
        self._steps = b""
        self._process_id = os.getpid()

    def _advance(self) -> None:
        now_ms = self._read_clock_ms()
        if now_ms > self._time_ms:
            self._time_ms = now_ms
            # The top bit stays 0: room for steps within this millisecond.
            self._random = int.from_bytes(self._read_random(10), "big") & (_RANDOM_MASK >> 1)
            return
        if not self._steps:
            # Many at once: asking the system for each would cost more than all else.
            self._steps = self._read_random(_STEP_COUNT * _STEP_BYTE_COUNT)
        step, self._steps = self._steps[:_STEP_BYTE_COUNT], self._steps[_STEP_BYTE_COUNT:]
        self._random += 1 + int.from_bytes(step, "big")
        if self._random > _RANDOM_MASK:
            self._time_ms += 1
            self._random &= _RANDOM_MASK


def _render(time_ms: int, random: int) -> str:
    high, low = random >> _LOW_BIT_COUNT, random & _LOW_MASK
    number = (time_ms << _TIME_SHIFT) | _VERSION_BITS | (high << 64) | _VARIANT_BITS | low
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
