"""Channels to our own services: balanced, watched, and with the service token on every RPC."""

from __future__ import annotations

import asyncio
import ipaddress
import json
from collections.abc import Callable, Sequence
from typing import Any, Final, Self

import grpc

from chassis.config import ConfigError, Settings, is_loopback, split_address
from chassis.probes import READINESS
from chassis.telemetry import trace_metadata
from chassis.tls import Certificates, channel_credentials

MESSAGE_BYTES_MAX: Final = 8 * 1024 * 1024
KEEPALIVE_MS: Final = 10_000
KEEPALIVE_TIMEOUT_MS: Final = 5_000
RECONNECT_MS_MIN: Final = 100
RECONNECT_MS_MAX: Final = 2_000
# How often the certificate's files are looked at, by an RPC that begins.
CERTIFICATE_CHECK_SECONDS: Final = 5.0
# What began on a connection with an old certificate may go on for so long.
OLD_CHANNEL_SECONDS: Final = 120.0

# Channels watch the readiness of each replica: whoever drains gets no more RPCs before it stops
# to take them. Without that, RPCs on their way to it would end as CANCELLED.
_SERVICE_CONFIG: Final = json.dumps(
    {
        "loadBalancingConfig": [{"round_robin": {}}],
        "healthCheckConfig": {"serviceName": READINESS},
    }
)
_OPTIONS: Final = (
    ("grpc.service_config", _SERVICE_CONFIG),
    ("grpc.service_config_disable_resolution", 1),
    # Our code repeats RPCs, with the same ids and within the caller's deadline.
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),
    ("grpc.keepalive_time_ms", KEEPALIVE_MS),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", RECONNECT_MS_MIN),
    ("grpc.min_reconnect_backoff_ms", RECONNECT_MS_MIN),
    ("grpc.max_reconnect_backoff_ms", RECONNECT_MS_MAX),
    # New replicas appear in DNS; whoever lost one should not wait half a minute for them.
    ("grpc.dns_min_time_between_resolutions_ms", RECONNECT_MS_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
)

_Metadata = tuple[tuple[str, str | bytes], ...]
_Call = Callable[..., Any]


def open_channel(target: tuple[str, ...], settings: Settings) -> grpc.aio.Channel:
    """Opens a channel over all replicas of one service; it connects when it is first used.

    `target` is one host:port, whose name may have many addresses, or several IP addresses. Raises
    ConfigError when they cannot be one target, or would get the token in plain text.
    """
    uri, token = _target_uri(target), settings.service_token.get_secret_value()
    if settings.tls_certificate_file is None:
        _refuse_plaintext(target, settings)
        return _PeerChannel(lambda: grpc.aio.insecure_channel(uri, options=_OPTIONS), token)
    certificates = Certificates(settings)

    def connect() -> grpc.aio.Channel:
        return grpc.aio.secure_channel(uri, channel_credentials(certificates), options=_OPTIONS)

    return _PeerChannel(connect, token, certificates)


class _PeerChannel(grpc.aio.Channel):
    """Adds metadata to every RPC, and connects anew when the certificates were renewed. An
    interceptor would do the former at a task per RPC.
    """

    def __init__(
        self,
        connect: Callable[[], grpc.aio.Channel],
        token: str,
        certificates: Certificates | None = None,
    ) -> None:
        self._connect = connect
        self._certificates = certificates
        self._check_time = 0.0
        self._channel = connect()
        self._closing: set[asyncio.Task[None]] = set()
        self._authorization = ("authorization", f"Bearer {token}")

    async def __aenter__(self) -> Self:
        await self._channel.__aenter__()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    async def close(self, grace: float | None = None) -> None:
        for closing in self._closing:
            closing.cancel()
        await self._channel.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self._channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self._channel.channel_ready()

    def unary_unary(self, *arguments: Any, **options: Any) -> Any:
        return self._bind(lambda channel: channel.unary_unary(*arguments, **options))

    def unary_stream(self, *arguments: Any, **options: Any) -> Any:
        return self._bind(lambda channel: channel.unary_stream(*arguments, **options))

    def stream_unary(self, *arguments: Any, **options: Any) -> Any:
        return self._bind(lambda channel: channel.stream_unary(*arguments, **options))

    def stream_stream(self, *arguments: Any, **options: Any) -> Any:
        return self._bind(lambda channel: channel.stream_stream(*arguments, **options))

    def _bind(self, make: Callable[[grpc.aio.Channel], Any]) -> _Call:
        authorization = self._authorization
        channel = self._channel
        method = make(channel)

        def call(request: Any = None, *, metadata: _Metadata = (), **options: Any) -> Any:
            nonlocal channel, method
            if self._certificates is not None:
                self._renew(self._certificates)
                if channel is not self._channel:
                    channel = self._channel
                    method = make(channel)
            own = (authorization, trace_metadata())
            return method(request, metadata=(*own, *metadata), **options)

        return call

    def _renew(self, certificates: Certificates) -> None:
        """Replaces the channel if the files changed; RPCs under way end on the one they began."""
        now = asyncio.get_running_loop().time()
        if now < self._check_time:
            return
        self._check_time = now + CERTIFICATE_CHECK_SECONDS
        if not certificates.refresh():
            return
        old, self._channel = self._channel, self._connect()
        closing = asyncio.create_task(old.close(OLD_CHANNEL_SECONDS))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)


def _target_uri(target: Sequence[str]) -> str:
    if len(target) == 1:
        split_address(target[0])
        return f"dns:///{target[0]}"
    versions = {_ip_version(address) for address in target}
    if versions not in ({4}, {6}):
        raise ConfigError(
            f"{','.join(target)}: give several IP addresses of one version, "
            "or one name that resolves to all replicas"
        )
    return f"ipv{versions.pop()}:{','.join(target)}"


def _ip_version(address: str) -> int | None:
    try:
        return ipaddress.ip_address(split_address(address)[0]).version
    except ValueError:
        return None


def _refuse_plaintext(target: Sequence[str], settings: Settings) -> None:
    for address in target:
        host, _ = split_address(address)
        if not settings.allow_plaintext and not is_loopback(host):
            raise ConfigError(
                f"{address} is not loopback: set the three TLS files, or allow plaintext "
                "if the network encrypts"
            )
