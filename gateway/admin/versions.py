"""Which version of a thing a change is about, so that nobody's change is lost."""

from __future__ import annotations

from typing import Literal, Protocol


class Conditional(Protocol):
    """A request that may say which version it is about."""

    @property
    def expected_version(self) -> int:
        """The version; 0 also if none is said."""

    def HasField(self, field_name: Literal["expected_version"], /) -> bool:  # noqa: N802 - theirs
        """Whether one is said."""


def read_expected(request: Conditional) -> int | None:
    """Returns the version that a thing must have. None: any."""
    return request.expected_version if request.HasField("expected_version") else None
