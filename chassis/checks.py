"""Checks of one message's fields: collects every violation, then refuses once."""

from __future__ import annotations

import re
import unicodedata
import uuid as uuid_module
from collections.abc import Collection, Hashable, Iterable
from typing import Final

from asyncpg.pgproto import pgproto

from chassis.errors import FieldViolation, InvalidArgument

_UUID_LENGTH: Final = 36
# Stands in for a wrong id until raise_if_any: the parse goes on and finds the other violations.
_NO_UUID: Final = uuid_module.UUID(int=0)
# Surrogates and control characters; the printable ones pass by one look of str.isprintable.
_REFUSED_CATEGORIES: Final = frozenset({"Cc", "Cs"})


class Checks:
    """Collects the violations of one message, or of one member of a batch.

    Each check returns a value of the right type even when it found a violation, so that one pass
    finds them all; nothing may be done with the values before `raise_if_any`.
    """

    __slots__ = ("_prefix", "violations")

    def __init__(self, prefix: str = "") -> None:
        """`prefix` is the path of the member, such as "calls[3]."."""
        self._prefix = prefix
        self.violations: list[FieldViolation] = []

    def violate(self, field: str, description: str) -> None:
        """Records a violation; the description names the fix."""
        self.violations.append(FieldViolation(self._prefix + field, description))

    def raise_if_any(self) -> None:
        """Raises InvalidArgument with all violations, in the order they were found."""
        if self.violations:
            raise InvalidArgument(self.violations)

    def text(
        self,
        field: str,
        value: str,
        *,
        max_length: int,
        min_length: int = 1,
        pattern: re.Pattern[str] | None = None,
    ) -> str:
        """Returns the text; refuses control characters and spaces at its ends. Lengths are in
        characters. A pattern refuses these by itself: what matches it is not looked at again.
        """
        if not min_length <= len(value) <= max_length:
            self._violate_length(field, value, min_length=min_length, max_length=max_length)
        elif not value or (pattern is not None and pattern.fullmatch(value)):
            pass
        elif value[0].isspace() or value[-1].isspace():
            self.violate(field, "remove the spaces at its start or end")
        elif not value.isprintable() and _has_control_character(value):
            self.violate(field, "remove the control characters")
        elif pattern is not None:
            self.violate(field, f"must match {pattern.pattern}")
        return value

    def uuid(self, field: str, value: str) -> uuid_module.UUID:
        """Returns the id; its text is canonical lower case whatever the caller's was."""
        # The text form of RFC 4122, and no other that uuid.UUID would take (braces, urn:).
        if len(value) == _UUID_LENGTH and value[8] == value[13] == value[18] == value[23] == "-":
            try:
                # A uuid.UUID as the database's driver makes them: in a quarter of the time.
                return pgproto.UUID(value)
            except ValueError:
                pass
        hint = "required: " if not value else ""
        self.violate(field, f"{hint}send a UUID such as 01890a5d-ac96-774b-bcce-b302099a8057")
        return _NO_UUID

    def integer(self, field: str, value: int, *, minimum: int, maximum: int) -> int:
        """Returns the number if it lies within the bounds, which are both allowed."""
        if not minimum <= value <= maximum:
            self.violate(field, f"must be from {minimum} to {maximum}")
        return value

    def choice(self, field: str, enum_value: int, *, allowed: Collection[int]) -> int:
        """Returns the enum's number; refuses 0 (unspecified) and numbers this server knows not."""
        if enum_value == 0:
            self.violate(field, "required: choose one of the enum's values")
        elif enum_value not in allowed:
            self.violate(field, f"{enum_value} is no value that this server knows")
        return enum_value

    def distinct(self, members: Iterable[tuple[str, Hashable]]) -> None:
        """Refuses a member that is there twice; each is its path, and what must be another."""
        first: dict[Hashable, str] = {}
        for path, key in members:
            earlier = first.setdefault(key, path)
            if earlier != path:
                self.violate(path, f"is the same as {earlier}; send it once")

    def _violate_length(self, field: str, value: str, *, min_length: int, max_length: int) -> None:
        if not value:
            self.violate(field, "required: it must not be empty")
        elif len(value) < min_length:
            self.violate(field, f"must have at least {min_length} characters")
        else:
            self.violate(field, f"has {len(value)} characters; at most {max_length} are allowed")


def _has_control_character(value: str) -> bool:
    return any(unicodedata.category(character) in _REFUSED_CATEGORIES for character in value)
