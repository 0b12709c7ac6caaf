"""The whole system in one process: the real services on one real database, nothing mocked."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import asyncpg
import grpc
import pytest

from chassis.config import Settings
from chassis.process import Deployable
from gateway.__main__ import DEPLOYABLE as GATEWAY
from gateway.config import GatewaySettings
from gateway.jobs.bootstrap import ROUTES, bootstrap
from headgate.api.gateway.v1 import admin_pb2, admin_pb2_grpc, gateway_pb2_grpc
from headgate.channel import authorization
from headgate.failures import parse_failure
from services.accounting.__main__ import DEPLOYABLE as ACCOUNTING
from services.accounting.config import AccountingSettings
from services.accounting.jobs.import_prices import import_prices
from services.admission.__main__ import DEPLOYABLE as ADMISSION
from services.admission.config import AdmissionSettings
from services.health.__main__ import DEPLOYABLE as HEALTH
from services.health.config import HealthSettings
from tests.schemas import build_schemas, runtime_url
from tests.serving import running

TOKEN: Final = "tests-only-service-token-0123456789abcdef"
PERMIT_KEYS: Final = "old:" + "0f" * 32
ADMIN_KEY: Final = "hg_admin_" + "A" * 43
ACME_KEY: Final = "hg_acme_" + "B" * 43
GLOBEX_KEY: Final = "hg_globex_" + "C" * 43
# Nobody listens there.
NOWHERE: Final = "127.0.0.1:1"
WAIT_SECONDS: Final = 60.0

S = TypeVar("S", bound=Settings)


def gateway_settings(url: str, **values: Any) -> GatewaySettings:
    defaults: dict[str, Any] = {
        "listen_address": "127.0.0.1:0",
        "database_url": runtime_url(url, "gateway"),
        "service_token": TOKEN,
        "drain_seconds": 2.0,
        "log_level": "error",
        "permit_keys": PERMIT_KEYS,
        "admission_addresses": NOWHERE,
        "accounting_addresses": NOWHERE,
        "health_addresses": NOWHERE,
        "bootstrap_admin_key": ADMIN_KEY,
        "bootstrap_api_keys": f"acme={ACME_KEY},globex={GLOBEX_KEY}",
    }
    return GatewaySettings(**defaults | values)


def inner_settings(cls: type[S], url: str, name: str, **values: Any) -> S:
    defaults: dict[str, Any] = {
        "listen_address": "127.0.0.1:0",
        "database_url": runtime_url(url, name),
        "service_token": TOKEN,
        "drain_seconds": 2.0,
        "log_level": "error",
    }
    return cls(**defaults | values)


async def build_system(url: str) -> None:
    """All schemas, prices of the routes' models, the keys above and the default routes."""
    await build_schemas(url, "admission", "accounting", "health", "gateway")
    await import_prices(inner_settings(AccountingSettings, url, "accounting"))
    connection = await asyncpg.connect(url)
    # Every start reads all prices; the routes need few of the thousands.
    await connection.execute(
        "DELETE FROM accounting.model_price WHERE model <> ALL($1)",
        [model for candidates in ROUTES.values() for _, model in candidates],
    )
    await connection.close()
    await bootstrap(gateway_settings(url))


@dataclass(slots=True)
class System:
    """All four, started in order; each can be stopped and started again on its port."""

    url: str
    addresses: dict[str, str] = field(default_factory=dict)
    _stacks: dict[str, AsyncExitStack] = field(default_factory=dict)
    _channels: list[grpc.aio.Channel] = field(default_factory=list)

    async def start(self, name: str, **values: Any) -> None:
        """Starts a service, a second time on the port that it had; other names are gateways."""
        deployable, settings = self._describe(name, values)
        stack = AsyncExitStack()
        self.addresses[name] = await stack.enter_async_context(running(deployable, settings))
        self._stacks[name] = stack

    async def stop(self, name: str) -> None:
        """Drains and stops a service."""
        await self._stacks.pop(name).aclose()

    async def close(self) -> None:
        for channel in self._channels:
            await channel.close()
        for name in reversed(list(self._stacks)):
            await self.stop(name)

    def channel(self, name: str = "gateway") -> grpc.aio.Channel:
        channel = grpc.aio.insecure_channel(self.addresses[name])
        self._channels.append(channel)
        return channel

    def backend(self, key: str = ACME_KEY, *, at: str = "gateway") -> Keyed:
        """The backends' service, with a backend's key."""
        return Keyed(gateway_pb2_grpc.GatewayServiceStub(self.channel(at)), key)

    def staff(self, key: str = ADMIN_KEY) -> Keyed:
        """The staff's service, with an admin's key."""
        return Keyed(admin_pb2_grpc.AdminServiceStub(self.channel()), key)

    async def fetch(self, service: str, statement: str, *values: Any) -> list[asyncpg.Record]:
        """Reads a service's schema from outside."""
        connection = await asyncpg.connect(runtime_url(self.url, service))
        try:
            await connection.execute(f"SET search_path TO {service}")
            return list(await connection.fetch(statement, *values))
        finally:
            await connection.close()

    def _describe(self, name: str, values: dict[str, Any]) -> tuple[Deployable[Any], Settings]:
        values = {"listen_address": self.addresses.get(name, "127.0.0.1:0")} | values
        find = self.addresses.get
        if name == "accounting":
            values = {
                "channel_keys": "k1:" + "0f" * 32,
                "delivery_networks": "127.0.0.1/32",
            } | values
            return ACCOUNTING, inner_settings(AccountingSettings, self.url, name, **values)
        if name == "admission":
            values = {"accounting_addresses": find("accounting", NOWHERE)} | values
            return ADMISSION, inner_settings(AdmissionSettings, self.url, name, **values)
        if name == "health":
            values = {"admission_addresses": find("admission", NOWHERE)} | values
            return HEALTH, inner_settings(HealthSettings, self.url, name, **values)
        peers = {
            f"{peer}_addresses": find(peer, NOWHERE)
            for peer in ("admission", "accounting", "health")
        }
        return GATEWAY, gateway_settings(self.url, **peers | values)


class Keyed:
    """A stub whose methods carry one key."""

    def __init__(self, stub: Any, key: str) -> None:
        self._stub = stub
        self._metadata = authorization(key)

    def __getattr__(self, method: str) -> Callable[..., Any]:
        call = getattr(self._stub, method)
        return lambda request, timeout=10.0: call(
            request, timeout=timeout, metadata=self._metadata
        )


async def kill(staff: Keyed, **order: Any) -> Any:
    """Stops calls, in the two steps that this takes."""
    prepared = await staff.PrepareKill(admin_pb2.PrepareKillRequest(**order))
    request = admin_pb2.KillRequest(**order, confirmation_token=prepared.confirmation_token)
    return await staff.Kill(request)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What an RPC failed with, details included."""

    code: str
    reason: str
    fields: tuple[str, ...]
    metadata: dict[str, str]
    retry_seconds: float | None


async def refusal(rpc: Awaitable[object]) -> Refusal:
    """Returns how the RPC failed; it must fail."""
    try:
        answer = await rpc
    except grpc.aio.AioRpcError as error:
        failure = parse_failure(error)
    else:
        pytest.fail(f"was not refused: {answer}")
    delay = failure.retry_delay
    return Refusal(
        code=failure.code,
        reason=failure.reason,
        fields=tuple(each.field for each in failure.violations),
        metadata=dict(failure.metadata),
        retry_seconds=None if delay is None else delay.total_seconds(),
    )


def new_id() -> str:
    """A new call's id."""
    return str(uuid.uuid4())


async def eventually(check: Callable[[], Awaitable[bool]]) -> None:
    """Returns once the check holds; what polls in the background needs a moment."""
    async with asyncio.timeout(WAIT_SECONDS):
        while not await check():  # noqa: ASYNC110 - nobody tells when a poll has run
            await asyncio.sleep(0.02)


async def persist(attempt: Callable[[], Awaitable[Any]]) -> Any:
    """Repeats an RPC while its answer is UNAVAILABLE, as our clients do."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            try:
                return await attempt()
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
            await asyncio.sleep(0.05)
