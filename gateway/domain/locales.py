"""Locales: tags of languages, such as "de-AT", and which text of several fits one best."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

LOCALE_LENGTH_MAX: Final = 35
LOCALE: Final = re.compile(r"[A-Za-z]{2,8}(?:[-_][A-Za-z0-9]{1,8})*")
_SCRIPT_LENGTH: Final = 4
_REGION_LENGTH: Final = 2


def parse_locale(tag: str) -> str | None:
    """Returns a tag of BCP 47 in its usual spelling, such as "zh-Hant-TW". None: it is none.

    Underscores pass for hyphens: many systems write "de_AT".
    """
    if len(tag) > LOCALE_LENGTH_MAX or LOCALE.fullmatch(tag) is None:
        return None
    first, *others = tag.replace("_", "-").split("-")
    return "-".join([first.lower(), *map(_spell, others)])


def find_locale(locales: Collection[str], wanted: str, *, default: str) -> str:
    """Returns the locale that fits best: the wanted one, a more general one, or the default.

    This is the lookup of RFC 4647: subtags are dropped from the right, "de-AT" looks for "de".
    """
    while wanted:
        if wanted in locales:
            return wanted
        wanted = wanted.rpartition("-")[0]
        # A single letter introduces what follows it, and means nothing alone.
        if wanted[-2:-1] == "-":
            wanted = wanted[:-2]
    return default


def _spell(subtag: str) -> str:
    if len(subtag) == _SCRIPT_LENGTH and subtag.isalpha():
        return subtag.capitalize()
    return subtag.upper() if len(subtag) == _REGION_LENGTH else subtag.lower()
