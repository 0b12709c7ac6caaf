"""Reads counts out of what a provider sent, and believes none of it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

# Meters by the contract's field names. Empty: the usage is missing, which is not zero.
Meters: TypeAlias = dict[str, int]

# What the gateway accepts: no call moves a billion tokens.
COUNT_MAX: Final = 10**9


class NonsenseError(Exception):
    """The provider sent something that can't be a count."""


def tolerant(read: Callable[[object], Meters]) -> Callable[[object], Meters]:
    """Lets a reader give up: who can't be believed in one count is believed in none.

    The usage is missing then, and the call is charged at its hold.
    """

    @functools.wraps(read)
    def wrapper(usage: object) -> Meters:
        try:
            return read(usage)
        except NonsenseError:
            return {}

    return wrapper


def member(holder: object, *path: str) -> object:
    """Returns what is at the path. None: nothing is there."""
    for name in path:
        if holder is None:
            return None
        if not isinstance(holder, Mapping):
            raise NonsenseError
        holder = holder.get(name)
    return holder


def count(holder: object, *path: str) -> int | None:
    """Returns the count at the path. None: nothing is there. Raises NonsenseError."""
    found = member(holder, *path)
    if found is None:
        return None
    if isinstance(found, float) and found.is_integer():
        found = int(found)
    if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found <= COUNT_MAX:
        raise NonsenseError
    return found


def milliseconds(holder: object, *path: str) -> int | None:
    """Returns the seconds at the path as milliseconds, a part of one as a whole one."""
    found = member(holder, *path)
    if found is None:
        return None
    if not isinstance(found, (int, float)) or isinstance(found, bool):
        raise NonsenseError
    # Written so that NaN and infinities fail.
    if not 0 <= found <= COUNT_MAX / 1000:
        raise NonsenseError
    whole = round(found * 1000)
    return whole if whole >= found * 1000 - 1e-6 else whole + 1


def rest(total: int | None, *parts: int | None) -> int | None:
    """Returns what is left of a total without its parts. Raises NonsenseError if that is less."""
    if total is None:
        return None
    left = total - sum(part or 0 for part in parts)
    if left < 0:
        raise NonsenseError
    return left


def meters(**counts: int | None) -> Meters:
    """Returns the meters that are known."""
    return {name: each for name, each in counts.items() if each is not None}


def plus(*parts: int | None) -> int | None:
    """Returns the sum of the parts that are known. None: none is."""
    known = [part for part in parts if part is not None]
    return sum(known) if known else None
