"""Serves the HTTP face beside the RPCs, in the gateway's own process and loop."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Final

import h11
import structlog
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

# Open connections beyond this are refused: a browser's page holds one.
CONNECTION_COUNT_MAX: Final = 10_000
# A request whose headers take longer holds a connection for nothing.
HEADER_SECONDS_MAX: Final = 10.0
# How long answers under way may take when the process drains.
GRACE_SECONDS: Final = 2

log = structlog.get_logger()


class WebServer:
    """Listens at an address; port 0 takes a free one."""

    def __init__(
        self, app: ASGIApp, address: str, *, context: ssl.SSLContext | None = None
    ) -> None:
        """`context` is that of TLS; None: plain text."""
        host, _, port = address.rpartition(":")
        self._socket = socket.create_server(
            (host.strip("[]"), int(port)),
            family=socket.AF_INET6 if ":" in host else socket.AF_INET,
            reuse_port=False,
        )
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=CONNECTION_COUNT_MAX,
            timeout_graceful_shutdown=GRACE_SECONDS,
            lifespan="off",
            http=PatientProtocol,
        )
        config.load()
        config.ssl = context
        self._server = _QuietServer(config)
        self._ended = asyncio.Event()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._socket.getsockname()[1])

    async def run(self) -> None:
        """Serves until `close`."""
        log.info("web_listening", port=self.port)
        try:
            await self._server.serve(sockets=[self._socket])
        finally:
            self._ended.set()

    async def close(self) -> None:
        """Takes no more and lets answers under way end."""
        self._server.should_exit = True
        with suppress(TimeoutError):
            async with asyncio.timeout(2 * GRACE_SECONDS):
                await self._ended.wait()


class PatientProtocol(H11Protocol):
    """Closes a connection whose request does not begin: headers may come slowly, not for ever."""

    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as theirs
        """Begins to wait."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Waits no more."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Waits as long as the headers are not whole."""
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            self._wait()
        else:
            self._stop_waiting()

    def _wait(self) -> None:
        if self._waiting is None:
            self._waiting = self.loop.call_later(HEADER_SECONDS_MAX, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None


class _QuietServer(uvicorn.Server):
    """Leaves the process's signals to whoever has them."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Captures none."""
        yield
