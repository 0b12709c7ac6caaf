"""Where the demo finds Headgate, and whose keys it uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from local import endpoints
from local.errors import LocalError


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """Addresses and keys of a running Headgate."""

    # Each as host:port.
    gateways: tuple[str, ...]
    # Backend keys by their orgs.
    api_keys: Mapping[str, str] = field(repr=False)
    admin_key: str = field(repr=False)

    @property
    def target(self) -> str:
        """All gateways, as gRPC writes them."""
        return "ipv4:" + ",".join(self.gateways)


def read_endpoints(state: Path) -> Endpoints:
    """Reads what the supervisor wrote. Raises `LocalError` if nothing runs on that folder."""
    content = endpoints.read(state)
    if content is None:
        raise LocalError("nothing runs here; start it with `make up` in another terminal")
    return Endpoints(
        gateways=tuple(content["gateways"]),
        api_keys=content["api_keys"],
        admin_key=content["admin_key"],
    )
