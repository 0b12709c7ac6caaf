"""Follows health: breakers that open, credentials that are refused and calls that are stopped are
alerts until they end.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Final, TypeAlias

from chassis.database import Pool
from headgate.api.common.v1 import health_pb2
from headgate.api.health.v1 import health_pb2 as health
from services.accounting.alerts.outbox import write_event
from services.accounting.alerts.register import notice, resolve_condition
from services.accounting.domain.alerts import Condition
from services.accounting.domain.fitness import (
    Active,
    Fact,
    compare_facts,
    describe_end,
    kill_in_force,
    open_breaker,
    refused_credential,
)
from services.accounting.queries import WATCH

RPC_TIMEOUT_SECONDS: Final = 5.0
# Any number of ours: it names the lock.
_LOCK: Final = 7_402_001
_STOPPED: Final = frozenset({health_pb2.KILL_STATE_INTENDED, health_pb2.KILL_STATE_IN_FORCE})

# The RPC of health.
GetHealth: TypeAlias = Callable[..., Awaitable[health.GetHealthResponse]]


class Fitness:
    """Compares what health says with the alerts that there are."""

    def __init__(self, pool: Pool, get_health: GetHealth) -> None:
        self._pool = pool
        self._get_health = get_health

    async def compare(self) -> None:
        """Raises what is new and resolves what is over. Raises AioRpcError and what the driver
        raises.
        """
        answer = await self._get_health(health.GetHealthRequest(), timeout=RPC_TIMEOUT_SECONDS)
        async with self._pool.acquire() as connection, connection.transaction():
            if not await connection.fetchval(WATCH.try_lock.sql, _LOCK):
                return
            now = await connection.fetchval(WATCH.fetch_now.sql)
            rows = await connection.fetch(WATCH.list_active_facts.sql)
            active = [
                Active(
                    key=row["alert_key"],
                    occurrence=str(json.loads(row["data"]).get("epoch", "")),
                    last_time=row["last_time"],
                )
                for row in rows
            ]
            orgs = {row["alert_key"]: row["org"] for row in rows}
            news, over = compare_facts(_read(answer), active, now=now)
            for fact in news:
                await notice(connection, Condition(key=fact.key, event=fact.event))
            for key in over:
                await resolve_condition(connection, key)
                await write_event(connection, describe_end(key, org=orgs[key]))


def _read(answer: health.GetHealthResponse) -> Iterator[Fact]:
    for provider in answer.providers:
        if provider.state != health_pb2.BREAKER_STATE_CLOSED:
            yield open_breaker(provider.provider, provider.epoch)
    for part in answer.parts:
        if part.state != health_pb2.BREAKER_STATE_CLOSED:
            where = f"model/{part.model}" if part.model else f"credential/{part.credential}"
            org = part.credential.partition("/")[0]
            yield open_breaker(part.provider, part.epoch, where=where, org=org)
        if part.HasField("refuse_time"):
            yield refused_credential(part.provider, part.credential)
    for kill in answer.kills:
        if kill.state in _STOPPED:
            yield kill_in_force(kill.kill_id, reason=kill.reason, actor=kill.actor)
