"""What models cost, at one version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gateway.domain.calls import Candidate
from gateway.domain.estimates import Ceiling

# Stands for the provider of a flat price: no provider's name is empty.
FLAT: Final = ""
_NOTHING: Final[Mapping[tuple[str, str], Ceiling]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceBook:
    """The ceilings of all priced models."""

    version: int
    # By provider and model; flat prices by no provider and operation.
    platform: Mapping[tuple[str, str], Ceiling]
    # By org, then by provider and model. Only orgs with an override are here.
    overrides: Mapping[str, Mapping[tuple[str, str], Ceiling]]

    def find(self, org: str, candidate: Candidate, operation: str) -> Ceiling | None:
        """Returns the ceiling that holds for an org: its own before the platform's, the model's
        before the operation's flat one.

        None: neither has a price, so no worst case is known.
        """
        own = self.overrides.get(org, _NOTHING)
        for key in ((candidate.provider, candidate.model), (FLAT, operation)):
            found = own.get(key) or self.platform.get(key)
            if found is not None:
                return found
        return None

    def prices(self, candidate: Candidate, operation: str) -> bool:
        """Tells whether the model, or calls of the operation, have a price for anybody."""
        keys = ((candidate.provider, candidate.model), (FLAT, operation))
        return any(
            key in book for book in (self.platform, *self.overrides.values()) for key in keys
        )
