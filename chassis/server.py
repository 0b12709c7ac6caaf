"""The one server bootstrap: whatever listens for RPCs is built here.

A process adds its servicers, its readiness checks and what must happen when the last call has
ended; health, reflection, limits, transport and the order of shutting down are the same for all.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import grpc
import structlog
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from pydantic import SecretStr

from chassis.config import ConfigError, Settings
from chassis.errors import Unauthenticated
from chassis.handlers import (
    Authenticator,
    Authorizer,
    Handler,
    Metadata,
    Methods,
    Observer,
    Traffic,
    Wrapper,
    deadline,
    metadata,
    principal,
)
from chassis.probes import Probes, ReadinessCheck
from chassis.telemetry import Telemetry
from chassis.tls import Certificates, server_credentials

__all__ = [
    "Authenticator",
    "Authorizer",
    "Metadata",
    "ReadinessCheck",
    "Server",
    "ServiceTokenAuthenticator",
    "deadline",
    "metadata",
    "principal",
]

MESSAGE_BYTES_MAX: Final = 8 * 1024 * 1024
_HEALTH: Final = "grpc.health.v1.Health"
_KEEPALIVE_SECONDS: Final = 30
_KEEPALIVE_TIMEOUT_SECONDS: Final = 10
# Clients may ping this often; faster ones are cut off.
_PING_INTERVAL_SECONDS_MIN: Final = 5

DrainCallback = Callable[[], Awaitable[None]]

log = structlog.get_logger()


class Server:
    """One RPC server. Added to before it starts; started once."""

    def __init__(self, settings: Settings, telemetry: Telemetry) -> None:
        self._settings = settings
        self._telemetry = telemetry
        self._traffic = Traffic(rpc_count_max=settings.max_concurrent_rpcs)
        self._methods = Methods()
        self._service_names: list[str] = []
        self._drain_callbacks: list[DrainCallback] = []
        self._probes = Probes()
        self._server: grpc.aio.Server | None = None
        self._probe_server: grpc.aio.Server | None = None
        # A path at which it listens too, for this process alone; None: nowhere else.
        self.local_path: Path | None = None
        # Where probes are answered in plain text; None: nowhere of their own.
        self.probe_port: int | None = None
        self._checking: asyncio.Task[None] | None = None
        self._register(
            health_pb2_grpc.add_HealthServicer_to_server,
            self._probes,
            self._wrapper(_HEALTH, authenticate=None, is_shed=False),
        )

    def add(
        self,
        add_to_server: Callable[[Any, Any], None],
        servicer: object,
        *,
        service_name: str,
        authenticate: Authenticator,
        authorize: Authorizer | None = None,
        observe: Observer | None = None,
    ) -> None:
        """Adds a servicer by its generated function; `authorize` looks at each decoded request,
        and `observe` hears of each RPC when it has ended.

        Methods that the servicer does not define answer UNIMPLEMENTED. Raises ValueError when the
        service is there already or is not the one that the function registers.
        """
        wrapper = self._wrapper(service_name, authenticate, authorize=authorize, observe=observe)
        self._register(add_to_server, servicer, wrapper)

    def add_readiness(self, name: str, check: ReadinessCheck) -> None:
        """Adds a check, run every 2 s; the process is ready while none raises."""
        self._probes.add(name, check)

    def on_drain(self, callback: DrainCallback) -> None:
        """Adds what runs, in order, when the last call has ended."""
        self._drain_callbacks.append(callback)

    async def start(self) -> int:
        """Listens, and returns the port. Raises ConfigError if the address or a TLS file fails."""
        if self._server is not None:
            raise RuntimeError("the server was started already")
        self._server = grpc.aio.server(options=_options(self._settings))
        self._server.add_generic_rpc_handlers((self._methods,))
        reflection.enable_server_reflection(
            [*self._service_names, reflection.SERVICE_NAME], self._server
        )
        port = _bind(self._server, self._settings)
        if self.local_path is not None:
            self._server.add_insecure_port(f"unix:{self.local_path}")
        await self._start_probe_server()
        await self._server.start()
        await self._probes.check_once()
        self._checking = asyncio.create_task(self._probes.run(), name="readiness")
        return port

    async def _start_probe_server(self) -> None:
        """Answers the health service alone, in plain text, for probes that speak no TLS."""
        address = self._settings.probe_address
        if address is None:
            return
        methods = Methods()
        prefix = f"/{_HEALTH}/"
        methods.handlers = {
            name: handler
            for name, handler in self._methods.handlers.items()
            if name.startswith(prefix)
        }
        server = grpc.aio.server(options=_options(self._settings))
        server.add_generic_rpc_handlers((methods,))
        try:
            self.probe_port = server.add_insecure_port(address)
        except RuntimeError:
            raise ConfigError(f"cannot listen for probes on {address}: choose another") from None
        await server.start()
        self._probe_server = server

    async def serve(self, stop: asyncio.Event) -> None:
        """Serves until the event is set, then drains. Starts the server if nobody has."""
        if self._server is None:
            await self.start()
        try:
            await stop.wait()
        finally:
            await self.drain()

    async def drain(self) -> None:
        """Says "not ready", waits for balancers, ends the streams, lets calls finish, closes."""
        if self._server is None:
            return
        log.info("draining", rpcs=self._traffic.rpc_count)
        self._probes.begin_drain()
        await asyncio.sleep(self._settings.propagation_seconds)
        # Stops taking calls first: a stream that ends here must not come back here.
        stopping = asyncio.create_task(self._server.stop(self._settings.drain_seconds))
        await asyncio.sleep(0)
        self._traffic.drain()
        await stopping
        for callback in self._drain_callbacks:
            await callback()
        if self._probe_server is not None:
            await self._probe_server.stop(None)
        if self._checking is not None:
            self._checking.cancel()
            await asyncio.wait({self._checking})
        log.info("drained")

    def _wrapper(
        self,
        service_name: str,
        authenticate: Authenticator | None,
        *,
        authorize: Authorizer | None = None,
        observe: Observer | None = None,
        is_shed: bool = True,
    ) -> Wrapper:
        return Wrapper(
            telemetry=self._telemetry,
            traffic=self._traffic,
            service_name=service_name,
            authenticate=authenticate,
            authorize=authorize,
            observe=observe,
            is_shed=is_shed,
        )

    def _register(
        self, add_to_server: Callable[[Any, Any], None], servicer: object, wrapper: Wrapper
    ) -> None:
        if self._server is not None:
            raise RuntimeError("add services before the server starts")
        if wrapper.service_name in self._service_names:
            raise ValueError(f"service added twice: {wrapper.service_name}")
        recorder = _Recorder()
        add_to_server(servicer, recorder)
        if list(recorder.handlers) != [wrapper.service_name]:
            raise ValueError(f"{wrapper.service_name} is not what {list(recorder.handlers)} is")
        for name, handler in recorder.handlers[wrapper.service_name].items():
            self._methods.handlers[f"/{wrapper.service_name}/{name}"] = wrapper.wrap(name, handler)
        self._service_names.append(wrapper.service_name)


class ServiceTokenAuthenticator:
    """Lets in who shows the services' own token; its principal is that nobody in particular."""

    def __init__(self, token: str | SecretStr) -> None:
        secret = token.get_secret_value() if isinstance(token, SecretStr) else token
        self._expected = f"Bearer {secret}".encode()

    async def __call__(self, metadata: Metadata, method: str) -> object:
        """Returns "service". Compares in constant time; raises Unauthenticated."""
        shown = metadata.get("authorization", "")
        if not hmac.compare_digest(str(shown).encode(), self._expected):
            raise Unauthenticated("show the service token as 'authorization: Bearer …'")
        return "service"


class _Recorder:
    """Stands in for a server while generated code registers a service."""

    def __init__(self) -> None:
        self.handlers: dict[str, Mapping[str, Handler]] = {}

    def add_registered_method_handlers(
        self, service_name: str, handlers: Mapping[str, Handler]
    ) -> None:
        self.handlers[service_name] = handlers

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Ignores the twin of what `add_registered_method_handlers` got."""


def _options(settings: Settings) -> list[tuple[str, int]]:
    return [
        # Two processes on one port would split the calls silently.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
        ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
        ("grpc.keepalive_time_ms", _KEEPALIVE_SECONDS * 1000),
        ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_SECONDS * 1000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", _PING_INTERVAL_SECONDS_MIN * 1000),
        ("grpc.max_connection_age_ms", int(settings.max_connection_age_seconds * 1000)),
        ("grpc.max_connection_age_grace_ms", int(settings.drain_seconds * 1000)),
    ]


def _bind(server: grpc.aio.Server, settings: Settings) -> int:
    try:
        if settings.tls_certificate_file is None:
            return server.add_insecure_port(settings.listen_address)
        credentials = server_credentials(
            Certificates(settings), require_client=settings.tls_require_client_certificate
        )
        return server.add_secure_port(settings.listen_address, credentials)
    except RuntimeError:
        raise ConfigError(
            f"cannot listen on {settings.listen_address}: it is taken, or not this machine's, "
            "or the TLS files do not fit; choose another address, or port 0"
        ) from None
