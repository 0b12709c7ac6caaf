"""Orgs: what is known of them, and what their denied callers are told."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Org:
    """What is known of an org."""

    org: str
    display_name: str = ""
    # IANA name. Empty: UTC.
    time_zone: str = ""
    owner: str = ""
    contacts: tuple[str, ...] = ()
    cost_centre: str = ""
    # Of the list price, in hundredths of a percent.
    discount_basis_points: int = 0
    # Its calls are denied, and why.
    suspended: bool = False
    suspend_reason: str = ""

    @property
    def contact(self) -> str:
        """Whom to ask about it. May be empty."""
        return ", ".join(each for each in (self.owner, *self.contacts) if each)

    @property
    def suspension(self) -> str:
        """What a caller is told while it is suspended."""
        ask = f" Ask {self.contact}." if self.contact else " Platform staff can resume it."
        return f"Org {self.org} is suspended: {self.suspend_reason}.{ask}"
