"""What limits and fences can tell a call by, and bounds of its units, as its caller says them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Final

from chassis.checks import Checks
from headgate.api.common.v1 import limit_pb2
from headgate.api.gateway.v1 import gateway_pb2

LENGTH_MAX: Final = 128
UNIT_COUNT_MAX: Final = 1_000_000_000
# Printable ASCII without spaces.
VALUE: Final = re.compile(r"[!-~]+")
_NAMES: Final = ("team", "user", "session", "feature")
_NONE: Final[Mapping[str, str]] = {}
_PRIORITY_MAX: Final = max(limit_pb2.Priority.values())


def read_dimensions(checks: Checks, request: gateway_pb2.AdmitCallRequest) -> Mapping[str, str]:
    """Returns the dimensions that were given, by name."""
    found: dict[str, str] | None = None
    for name in _NAMES:
        value = getattr(request, name)
        if value:
            checks.text(name, value, max_length=LENGTH_MAX, pattern=VALUE)
            found = found or {}
            found[name] = value
    if request.ip:
        found = found or {}
        found["ip"] = _read_address(checks, request.ip)
    return found or _NONE


def read_priority(checks: Checks, value: int) -> int:
    """Returns the priority's number. 0: the default one."""
    return checks.integer("priority", value, minimum=0, maximum=_PRIORITY_MAX)


def read_unit_bounds(checks: Checks, request: gateway_pb2.AdmitCallRequest) -> Mapping[str, int]:
    """Returns the bounds that were given, by name."""
    return {
        field.name: checks.integer(
            f"unit_bounds.{field.name}", bound, minimum=0, maximum=UNIT_COUNT_MAX
        )
        for field, bound in request.unit_bounds.ListFields()
    }


def _read_address(checks: Checks, value: str) -> str:
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        checks.violate("ip", "send an IPv4 or IPv6 address such as 192.0.2.7")
        return value
