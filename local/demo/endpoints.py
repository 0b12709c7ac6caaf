"""Where a running Headgate answers, as the supervisor wrote it down."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from local.errors import LocalError

FILE_NAME: Final = "endpoints.json"


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
    """Reads the file in a state folder. Raises `LocalError` if nothing was started there."""
    path = state / FILE_NAME
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        return Endpoints(
            gateways=tuple(facts["gateways"]),
            api_keys=dict(facts["api_keys"]),
            admin_key=facts["admin_key"],
        )
    except FileNotFoundError:
        raise LocalError(
            "nothing runs here; start it with `make up` in another terminal"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LocalError(f"cannot read {path}: {error!r}; start again with `make up`") from error
