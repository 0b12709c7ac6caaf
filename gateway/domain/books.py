"""What models cost, at one version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.domain.calls import Candidate
from gateway.domain.estimates import Ceiling


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceBook:
    """The ceilings of all priced models."""

    version: int
    # By provider and model.
    platform: Mapping[tuple[str, str], Ceiling]
    # By org, then by provider and model. Only orgs with an override are here.
    overrides: Mapping[str, Mapping[tuple[str, str], Ceiling]]

    def find(self, org: str, candidate: Candidate) -> Ceiling | None:
        """Returns the ceiling that holds for an org: its own before the platform's.

        None: the model has no price, so no worst case is known.
        """
        model = (candidate.provider, candidate.model)
        own = self.overrides.get(org)
        if own is not None and model in own:
            return own[model]
        return self.platform.get(model)
