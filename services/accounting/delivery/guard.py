"""Guards connections to the outside: each address is checked when it is connected to.

A check of names before would be worth nothing: a name may lead elsewhere a moment later.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Collection, Iterable
from typing import Any, Final

import httpcore2

from services.accounting.delivery.attempts import DeliveryError
from services.accounting.domain.addresses import Network, is_allowed

# Addresses of a name that are tried.
ADDRESS_COUNT_MAX: Final = 4


class GuardedBackend(httpcore2.AsyncNetworkBackend):
    """Connects to allowed addresses only, and to the very address that it checked."""

    def __init__(self, allowed: Collection[Network], *, public: bool = True) -> None:
        """`public` False: only to the networks that the operator allows."""
        self._allowed = allowed
        self._public = public
        self._backend = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Raises DeliveryError if the name has an address that is not allowed."""
        addresses = await _resolve(host, port)
        if not all(is_allowed(each, self._allowed, public=self._public) for each in addresses):
            raise DeliveryError("its address is not public and not allowed by the operator")
        failure: Exception = DeliveryError("its name has no address")
        for address in addresses[:ADDRESS_COUNT_MAX]:
            try:
                return await self._backend.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore2.AsyncNetworkStream:
        """Never: it leads to this machine."""
        raise DeliveryError("sockets of this machine are not allowed")

    async def sleep(self, seconds: float) -> None:
        """Sleeps between attempts to connect."""
        await asyncio.sleep(seconds)


async def _resolve(host: str, port: int) -> list[str]:
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise DeliveryError("its name can't be resolved") from None
    return list(dict.fromkeys(str(address[0]) for _, _, _, _, address in found))
