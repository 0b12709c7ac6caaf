"""Sends requests to providers, as they are."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Any


class Sender:
    """An asynchronous client of an HTTP library, one for each process and event loop.

    Connections survive neither a fork nor their event loop.
    """

    def __init__(self, http: Any, options: Mapping[str, Any]) -> None:
        self._http = http
        self._options = options
        # Told at once if they are wrong.
        self._client = http.AsyncClient(**options)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process_id = os.getpid()

    async def send(self, request: Any) -> Any:
        """Returns the response, whose content is yet to be read."""
        return await self._current().send(request, stream=True, follow_redirects=False)

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._current().aclose()

    def _current(self) -> Any:
        loop, process_id = asyncio.get_running_loop(), os.getpid()
        if process_id != self._process_id or self._loop not in (None, loop):
            self._client = self._http.AsyncClient(**self._options)
        self._loop, self._process_id = loop, process_id
        return self._client
