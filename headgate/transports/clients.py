"""Makes the clients."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from headgate.client import Client
from headgate.transports.governor import Governor
from headgate.transports.providers import Directory, Provider
from headgate.transports.terms import OnDenied, Terms

if TYPE_CHECKING:
    import httpx2


def governed_async_client(
    client: Client,
    *,
    operation: str,
    org: str = "",
    labels: Mapping[str, str] | None = None,
    providers: Mapping[str, Provider | str] | None = None,
    on_denied: OnDenied = "raise",
    rewrite_model: bool = True,
    library: Any = None,
    **options: Any,
) -> httpx2.AsyncClient:
    """Returns an asynchronous HTTP client whose requests are governed."""
    http = _library(library)
    governor = Governor(
        client,
        http=http,
        sender=http.AsyncClient(**options),
        directory=Directory(providers or {}),
        terms=Terms(
            operation=operation,
            org=org,
            labels=dict(labels or {}),
            on_denied=on_denied,
            rewrite_model=rewrite_model,
        ),
    )
    made: httpx2.AsyncClient = http.AsyncClient(
        transport=_transport_type(http)(governor), follow_redirects=True
    )
    return made


class _Transport:
    """The asynchronous face of a governor."""

    def __init__(self, governor: Governor) -> None:
        self._governor = governor

    async def handle_async_request(self, request: Any) -> Any:
        await request.aread()
        return await self._governor.handle(request)

    async def aclose(self) -> None:
        await self._governor.aclose()


@functools.cache
def _transport_type(http: Any) -> Any:
    return type("GovernedTransport", (_Transport, http.AsyncBaseTransport), {})


def _library(given: Any) -> Any:
    """Returns the HTTP library to build on: the one that is given, else the newer one."""
    if given is not None:
        return given
    try:
        return importlib.import_module("httpx2")
    except ImportError:
        return importlib.import_module("httpx")
