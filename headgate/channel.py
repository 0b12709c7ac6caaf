"""How a client reaches a gateway: address, transport security, API key.

Keys travel in plain text only to this machine, unless the caller says `insecure=True`.
"""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

import grpc
import grpc.aio

MESSAGE_BYTES_MAX: Final = 8 * 1024 * 1024
# Long enough for servers' usual ping limits, short enough to notice a cut cable.
KEEPALIVE_TIME_MS: Final = 60_000
KEEPALIVE_TIMEOUT_MS: Final = 10_000
RECONNECT_DELAY_MS_MIN: Final = 100
RECONNECT_DELAY_MS_MAX: Final = 2_000

_LOCAL_SCHEMES: Final = frozenset({"unix", "unix-abstract"})
_ADDRESS_SCHEMES: Final = frozenset({"ipv4", "ipv6", "dns"})
_PRINTABLE_ASCII_MIN: Final = 0x21
_PRINTABLE_ASCII_MAX: Final = 0x7E

# Channels watch each gateway's health, so one that shuts down gets no RPCs that it would cancel.
_SERVICE_CONFIG: Final = json.dumps(
    {"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": ""}}
)
_OPTIONS: Final = (
    ("grpc.service_config", _SERVICE_CONFIG),
    ("grpc.service_config_disable_resolution", 1),
    # Our code repeats RPCs, with the same id and within the caller's deadline.
    ("grpc.enable_retries", 0),
    ("grpc.keepalive_time_ms", KEEPALIVE_TIME_MS),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.initial_reconnect_backoff_ms", RECONNECT_DELAY_MS_MIN),
    ("grpc.min_reconnect_backoff_ms", RECONNECT_DELAY_MS_MIN),
    ("grpc.max_reconnect_backoff_ms", RECONNECT_DELAY_MS_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """Transport security; each part in PEM."""

    # Whom to trust. None: the system's authorities.
    root_certificates: bytes | None = None
    # The client's own certificate and key, for mutual TLS: both or none.
    certificate_chain: bytes | None = None
    private_key: bytes | None = field(default=None, repr=False)


def open_channel(
    target: str, *, tls: Tls | None = None, insecure: bool = False
) -> grpc.aio.Channel:
    """Opens a channel; it connects by itself when it is first used.

    Without `tls`, targets on this machine are reached in plain text and all others by TLS with
    the system's authorities; `insecure` means plain text everywhere. Raises ValueError for an
    target that can't be one, or if both are given.
    """
    check_target(target, tls=tls, insecure=insecure)
    local = is_local(target)
    options: list[tuple[str, str | int]] = list(_OPTIONS)
    if local:
        # A proxy in the environment can't reach this machine's loopback.
        options.append(("grpc.enable_http_proxy", 0))
    if insecure or (local and tls is None):
        return grpc.aio.insecure_channel(target, options=options)
    parts = tls or Tls()
    credentials = grpc.ssl_channel_credentials(
        root_certificates=parts.root_certificates,
        private_key=parts.private_key,
        certificate_chain=parts.certificate_chain,
    )
    return grpc.aio.secure_channel(target, credentials, options=options)


def check_target(target: str, *, tls: Tls | None = None, insecure: bool = False) -> None:
    """Raises ValueError if no channel can be opened so."""
    if not target or target.split() != [target] or target.startswith(("http:", "https:")):
        raise ValueError(f"{target!r} is no gateway's address; give one such as host:port")
    if tls is not None and insecure:
        raise ValueError("tls and insecure exclude each other")


def authorization(api_key: str) -> tuple[tuple[str, str], ...]:
    """Returns the metadata that every RPC carries.

    Raises ValueError, without the key in its text, if the key can't be one.
    """
    if not api_key or not all(
        _PRINTABLE_ASCII_MIN <= ord(each) <= _PRINTABLE_ASCII_MAX for each in api_key
    ):
        raise ValueError("the API key is empty or has characters that no key has")
    return (("authorization", f"Bearer {api_key}"),)


def is_local(target: str) -> bool:
    """Tells whether every address of a gRPC target is on this machine."""
    scheme, separator, rest = target.partition(":")
    if separator and scheme in _LOCAL_SCHEMES:
        return True
    addresses = target
    if separator and scheme in _ADDRESS_SCHEMES:
        # dns:[//authority/]host[:port]: the authority, if any, decides what a name means.
        authority, _, addresses = unquote(rest).rpartition("/")
        if authority.strip("/"):
            return False
    return all(_is_loopback(_host(each)) for each in addresses.split(","))


def _host(address: str) -> str:
    if address.startswith("["):
        return address[1:].partition("]")[0]
    if address.count(":") > 1:
        return address
    return address.partition(":")[0]


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
