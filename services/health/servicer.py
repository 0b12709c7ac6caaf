"""The RPCs of health: parse, ask, render."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, TypeAlias

import grpc

from chassis.errors import ServiceError
from chassis.server import deadline
from headgate.api.health.v1 import health_pb2 as pb
from headgate.api.health.v1 import health_pb2_grpc
from services.health import wire, wire_breakers, wire_orders, wire_toggles
from services.health.breakers import Breakers
from services.health.domain.signals import Classification
from services.health.kills import Kills
from services.health.store import Store
from services.health.toggles import Toggles
from services.health.watchers import Watchers

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]


class HealthServicer(health_pb2_grpc.HealthServiceServicer):
    """Serves `HealthService`; the contract's comments say what each method promises."""

    def __init__(
        self,
        *,
        breakers: Breakers,
        table: Classification,
        kills: Kills,
        toggles: Toggles,
        watchers: Watchers,
        store: Store,
    ) -> None:
        self._breakers = breakers
        self._table = table
        self._kills = kills
        self._toggles = toggles
        self._watchers = watchers
        self._store = store

    async def Observe(self, request: pb.ObserveRequest, context: Context) -> pb.ObserveResponse:
        parsed = wire_breakers.parse_observations(request, self._table)
        observations = [each for each in parsed if not isinstance(each, ServiceError)]
        stale_count = await self._breakers.observe(observations, deadline=deadline())
        return wire_breakers.render_observed(parsed, stale_count=stale_count)

    async def AcquireProbes(
        self, request: pb.AcquireProbesRequest, context: Context
    ) -> pb.AcquireProbesResponse:
        parsed = wire_breakers.parse_wishes(request)
        wishes = [each for each in parsed if not isinstance(each, ServiceError)]
        answers = await self._breakers.acquire(wishes, deadline=deadline())
        return wire_breakers.render_probes(parsed, answers)

    async def Watch(
        self, request: pb.WatchRequest, context: Context
    ) -> AsyncIterator[pb.WatchResponse]:
        async with aclosing(self._watchers.watch()) as updates:
            async for update in updates:
                yield wire.render_update(update)

    async def GetHealth(
        self, request: pb.GetHealthRequest, context: Context
    ) -> pb.GetHealthResponse:
        return wire.render_health(await self._store.read_state())

    async def Kill(self, request: pb.KillRequest, context: Context) -> pb.KillResponse:
        kill = await self._kills.kill(wire.parse_kill(request))
        return pb.KillResponse(kill=wire.render_kill(kill))

    async def Resume(self, request: pb.ResumeRequest, context: Context) -> pb.ResumeResponse:
        kill = await self._kills.resume(wire.parse_resume(request))
        return pb.ResumeResponse(kill=wire.render_kill(kill))

    async def SetBreaker(
        self, request: pb.SetBreakerRequest, context: Context
    ) -> pb.SetBreakerResponse:
        order = wire_orders.parse_order(request)
        breaker = await self._breakers.force(order.key, order.forced, note=order.note)
        return wire_orders.render_forced(breaker)

    async def ListBreakerMoves(
        self, request: pb.ListBreakerMovesRequest, context: Context
    ) -> pb.ListBreakerMovesResponse:
        page = wire_orders.parse_move_page(request)
        moves = await self._breakers.list_moves(
            provider=page.provider, before=page.before, count_max=page.size + 1
        )
        return wire_orders.render_moves(moves, page)

    async def PutToggle(
        self, request: pb.PutToggleRequest, context: Context
    ) -> pb.PutToggleResponse:
        order = wire_toggles.parse_toggle_order(request)
        toggle = await self._toggles.put(
            order.toggle_id,
            order.place,
            enabled=request.enabled,
            description=request.description,
            note=order.note,
            expected_version=order.expected_version,
        )
        return pb.PutToggleResponse(toggle=wire_toggles.render_toggle(toggle))

    async def DeleteToggle(
        self, request: pb.DeleteToggleRequest, context: Context
    ) -> pb.DeleteToggleResponse:
        order = wire_toggles.parse_toggle_order(request)
        toggle = await self._toggles.delete(
            order.toggle_id,
            order.place,
            note=order.note,
            expected_version=order.expected_version,
        )
        return pb.DeleteToggleResponse(toggle=wire_toggles.render_toggle(toggle))

    async def ApplyToggles(
        self, request: pb.ApplyTogglesRequest, context: Context
    ) -> pb.ApplyTogglesResponse:
        wanted, note = wire_toggles.parse_apply(request)
        deleted, keep = request.deleted_toggle_ids, not request.validate_only
        await self._toggles.apply(wanted, deleted, note=note, keep=keep)
        return pb.ApplyTogglesResponse()

    async def ListToggles(
        self, request: pb.ListTogglesRequest, context: Context
    ) -> pb.ListTogglesResponse:
        toggles = await self._toggles.list_all()
        wanted = [each for each in toggles if request.toggle_id in ("", each.toggle_id)]
        return pb.ListTogglesResponse(toggles=map(wire_toggles.render_toggle, wanted))

    async def ListToggleChanges(
        self, request: pb.ListToggleChangesRequest, context: Context
    ) -> pb.ListToggleChangesResponse:
        page = wire_toggles.parse_change_page(request)
        changes = await self._toggles.list_changes(
            toggle_id=page.toggle_id, before=page.before, count_max=page.size + 1
        )
        return wire_toggles.render_changes(changes, page)
