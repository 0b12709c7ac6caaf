"""grpc.health.v1 with two questions that have different answers.

`liveness` is SERVING while the process runs: restart it when it is not. `readiness`, and the empty
name, is SERVING while every check passes: send no calls while it is not.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc

from chassis.errors import NotFound

LIVENESS: Final = "liveness"
READINESS: Final = "readiness"
CHECK_INTERVAL_SECONDS: Final = 2.0
CHECK_TIMEOUT_SECONDS: Final = 2.0

ReadinessCheck = Callable[[], Awaitable[None]]

_SERVING: Final = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING
_UNKNOWN: Final = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN

log = structlog.get_logger()


class Probes(health_pb2_grpc.HealthServicer):
    """Answers the probes and runs the checks behind them."""

    def __init__(self) -> None:
        self._checks: dict[str, ReadinessCheck] = {}
        self._states = {"": _NOT_SERVING, READINESS: _NOT_SERVING, LIVENESS: _SERVING}
        # Replaced at each change; whoever watches waits for the one it saw.
        self._changed = asyncio.Event()
        self._failing: str | None = None
        self._draining = False

    def add(self, name: str, check: ReadinessCheck) -> None:
        """Adds a check, which raises while the process must get no calls."""
        if name in self._checks:
            raise ValueError(f"readiness check added twice: {name}")
        self._checks[name] = check

    async def run(self) -> None:
        """Repeats the checks until it is cancelled."""
        while True:
            await asyncio.sleep(CHECK_INTERVAL_SECONDS)
            await self.check_once()

    async def check_once(self) -> None:
        """Runs every check and publishes the outcome."""
        failing = None
        for name, check in self._checks.items():
            try:
                async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
                    await check()
            except Exception as error:  # noqa: BLE001 - whatever fails, the process is not ready
                failing = name
                if self._failing != name:
                    log.warning("not_ready", check=name, error=repr(error))
                break
        if self._failing is not None and failing is None:
            log.info("ready_again", check=self._failing)
        self._failing = failing
        self._publish(_SERVING if failing is None and not self._draining else _NOT_SERVING)

    def begin_drain(self) -> None:
        """Says "not ready" from now on, whatever the checks say."""
        self._draining = True
        self._publish(_NOT_SERVING)

    async def Check(  # noqa: N802 - the contract's name
        self, request: health_pb2.HealthCheckRequest, _context: Any
    ) -> health_pb2.HealthCheckResponse:
        """Answers once."""
        state = self._states.get(request.service)
        if state is None:
            raise NotFound("service", request.service)
        return health_pb2.HealthCheckResponse(status=state)

    async def Watch(  # noqa: N802 - the contract's name
        self, request: health_pb2.HealthCheckRequest, _context: Any
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """Answers now and at every change."""
        last = None
        while True:
            changed = self._changed
            state = self._states.get(request.service, _UNKNOWN)
            if state != last:
                yield health_pb2.HealthCheckResponse(status=state)
                last = state
            else:
                await changed.wait()

    def _publish(self, state: int) -> None:
        if self._states[READINESS] == state:
            return
        self._states.update({"": state, READINESS: state})
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
