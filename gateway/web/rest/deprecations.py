"""Until when a deprecated RPC is served: what its clients are told in headers.

A contract marks the RPC as `deprecated`; when that was, and when it ends, stands here.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import format_datetime
from typing import Final

from gateway.web.rest.bindings import Binding


@dataclass(frozen=True, slots=True, kw_only=True)
class Deprecation:
    """What becomes of an RPC."""

    # Instants of UTC.
    since: dt.datetime
    end: dt.datetime
    # Path of what to call instead.
    successor: str

    @property
    def headers(self) -> Mapping[str, str]:
        """What each answer says of it, as RFC 9745 and RFC 8594 want it."""
        return {
            "deprecation": f"@{int(self.since.timestamp())}",
            "sunset": format_datetime(self.end, usegmt=True),
            "link": f'<{self.successor}>; rel="successor-version"',
        }

    @property
    def said(self) -> str:
        """The same for readers."""
        return (
            f"Deprecated since {self.since:%Y-%m-%d}, served until {self.end:%Y-%m-%d}: "
            f"use `{self.successor}` instead."
        )


# By the RPC's full name, such as "/headgate.api.gateway.v1.AdminService/GetUsage".
Deprecations = Mapping[str, Deprecation]
DEPRECATIONS: Final[Deprecations] = {}


def find_deprecation(binding: Binding, known: Deprecations) -> Deprecation | None:
    """Returns what becomes of an RPC; None: it stays.

    Raises ValueError when the contract and the table differ.
    """
    found = known.get(binding.rpc)
    if (found is not None) is not binding.deprecated:
        raise ValueError(f"{binding.rpc} is deprecated in its contract, or in the table, alone")
    return found
