"""Which processes a local system has, where each listens, and what each is told. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlsplit, urlunsplit

from local.credentials import Credentials

HOST: Final = "127.0.0.1"
# Deployable -> module that runs it, in the order in which they start. The last one starts when
# the others are there, and stops first.
MODULES: Final = {
    "admission": "services.admission",
    "accounting": "services.accounting",
    "health": "services.health",
    "gateway": "gateway",
}
FRONT: Final = "gateway"
# Distance of a deployable's first port from the block's first.
PORTS: Final = {"gateway": 0, "admission": 1, "accounting": 2, "health": 3}
# Where further replicas follow, counted from 1: gateway-1 has 11.
FURTHER_PORTS: Final = {"gateway": 10, "admission": 20, "health": 30}
REPLICA_COUNT_MAX: Final = 10
# A developer who watches a breaker recover should not wait for a minute, nor for ten if the probe
# dies with its gateway.
BREAKER_OPEN_SECONDS: Final = 15
PROBE_SECONDS: Final = 20
# Distance of the first gateway's HTTP port from the block's first; the others follow it.
HTTP_PORT: Final = 80
# From a replica's RPC port to its metrics port: 7400 and 9464.
METRICS_DISTANCE: Final = 2064


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaPlan:
    """One process that shall run."""

    # Such as "gateway-0"; names its log file too.
    name: str
    deployable: str
    port: int
    # None: it has no HTTP face.
    http_port: int | None = None

    @property
    def module(self) -> str:
        """What `python -m` runs."""
        return MODULES[self.deployable]

    @property
    def address(self) -> str:
        """Where it answers RPCs."""
        return f"{HOST}:{self.port}"

    @property
    def metrics_port(self) -> int:
        """Where Prometheus reads it."""
        return self.port + METRICS_DISTANCE


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """All processes, and what they need to know of each other."""

    plans: tuple[ReplicaPlan, ...]
    credentials: Credentials
    # The admin's URL of the database in which the schemas are.
    admin_url: str

    def addresses(self, deployable: str) -> list[str]:
        """Where the deployable's replicas answer."""
        return [plan.address for plan in self.plans if plan.deployable == deployable]

    def http_urls(self) -> list[str]:
        """Where gateways answer browsers, OpenFeature SDKs and whoever speaks HTTP."""
        ports = [plan.http_port for plan in self.plans if plan.http_port is not None]
        return [f"http://{HOST}:{port}" for port in ports]

    def environment(self, plan: ReplicaPlan) -> dict[str, str]:
        """The settings of one server process, and nothing that it does not need."""
        fields = self._common(plan.deployable)
        fields["LISTEN_ADDRESS"] = plan.address
        fields["METRICS_ADDRESS"] = f"{HOST}:{plan.metrics_port}"
        if plan.http_port is not None:
            fields["HTTP_LISTEN_ADDRESS"] = f"{HOST}:{plan.http_port}"
        return _variables(plan.deployable, fields)

    def preferences(self, plan: ReplicaPlan) -> dict[str, str]:
        """Settings that suit a developer, if the user chose no others."""
        if plan.deployable != "health":
            return {}
        fields = {"OPEN_SECONDS": str(BREAKER_OPEN_SECONDS), "PROBE_SECONDS": str(PROBE_SECONDS)}
        return _variables(plan.deployable, fields)

    def bootstrap_environment(self) -> dict[str, str]:
        """The settings of the gateway's job that stores the demo's keys and routes."""
        keys = self.credentials.api_keys
        fields = self._common(FRONT)
        fields["BOOTSTRAP_ADMIN_KEY"] = self.credentials.admin_key
        fields["BOOTSTRAP_STAFF_TOKEN"] = self.credentials.staff_token
        fields["BOOTSTRAP_API_KEYS"] = ",".join(f"{org}={key}" for org, key in keys.items())
        return _variables(FRONT, fields)

    def _common(self, deployable: str) -> dict[str, str]:
        role, password = self.credentials.runtime(deployable)
        fields = {
            "DATABASE_URL": with_user(self.admin_url, role, password),
            "SERVICE_TOKEN": self.credentials.service_token,
        }
        for peer in _PEERS[deployable]:
            fields[f"{peer.upper()}_ADDRESSES"] = ",".join(self.addresses(peer))
        if deployable == "accounting":
            fields["CHANNEL_KEYS"] = f"local:{self.credentials.channel_key}"
            # A developer's receiver listens on this machine.
            fields["DELIVERY_NETWORKS"] = "127.0.0.0/8,::1/128"
        if deployable == FRONT:
            fields["PERMIT_KEYS"] = f"local:{self.credentials.permit_key}"
        return fields


_PEERS: Final[Mapping[str, Sequence[str]]] = {
    "admission": ("accounting",),
    "accounting": ("admission", "health"),
    "health": ("admission",),
    "gateway": ("admission", "accounting", "health"),
}


def lay_out(
    *, base: int, gateways: int, admissions: int, healths: int = 1
) -> tuple[ReplicaPlan, ...]:
    """Plans the processes on the ports from `base` on, in the order in which they start."""
    counts = {
        "admission": admissions,
        "accounting": 1,
        "health": healths,
        "gateway": gateways,
    }
    return tuple(
        ReplicaPlan(
            name=f"{deployable}-{index}",
            deployable=deployable,
            port=base + _port_offset(deployable, index),
            http_port=base + HTTP_PORT + index if deployable == FRONT else None,
        )
        for deployable in MODULES
        for index in range(counts[deployable])
    )


def with_user(url: str, user: str, password: str) -> str:
    """The URL with another user."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{user}:{quote(password, safe='')}@{host}"))


def _port_offset(deployable: str, index: int) -> int:
    return PORTS[deployable] if index == 0 else FURTHER_PORTS[deployable] + index


def _variables(deployable: str, fields: Mapping[str, str]) -> dict[str, str]:
    return {f"HEADGATE_{deployable.upper()}_{name}": value for name, value in fields.items()}
