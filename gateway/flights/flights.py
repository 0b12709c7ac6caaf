"""Lets one of many identical calls be made, and books the others at nothing."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog
from google.protobuf.duration_pb2 import Duration

from chassis import server
from chassis.errors import ServiceError
from gateway.flights import wire
from gateway.flights.store import Answer, FlightStore
from gateway.flights.waits import LostError, Waits
from gateway.flights.wire import Shared
from gateway.peers import Accounting
from gateway.prices import Prices
from gateway.principals import Principal
from gateway.routes import Routes
from gateway.store import Store
from headgate.api.accounting.v1 import accounting_pb2
from headgate.api.common.v1 import call_pb2
from headgate.api.gateway.v1 import gateway_pb2 as pb

# A leader that says nothing for so long is gone, and another one leads.
LEASE_SECONDS: Final = 3.0
# How long an answer is there for those who wait for it.
KEEP_SECONDS: Final = 10.0
# One wait; then the caller asks again, maybe at another gateway.
WAIT_SECONDS_MAX: Final = 10.0
# Kept back from the caller's deadline for the answer's way.
MARGIN_SECONDS: Final = 0.1

log = structlog.get_logger()


class Flights:
    """What gateways know together of identical calls, and what accounting is told of them."""

    def __init__(
        self, store: Store, routes: Routes, prices: Prices, accounting: Accounting
    ) -> None:
        self._store = FlightStore(store)
        self._waits = Waits(self._store)
        self._routes = routes
        self._prices = prices
        self._accounting = accounting
        self._bookings: set[asyncio.Task[None]] = set()

    async def join(self, request: pb.JoinCallRequest, who: Principal) -> pb.JoinCallResponse:
        """Returns the call's part. Raises InvalidArgument, NotFound."""
        call, call_id = wire.parse_join(request, who)
        if self._routes.may_be_old():
            await self._routes.look_again()
        route = self._routes.find(call.operation)
        if not route.coalesces:
            return pb.JoinCallResponse(role=pb.CALL_ROLE_ALONE)
        leader = None
        while leader is None:
            leader = await self._store.join_flight(
                (call.digest, call_id), lease_seconds=LEASE_SECONDS, seconds_max=route.hold_seconds
            )
        if leader != call_id:
            return pb.JoinCallResponse(role=pb.CALL_ROLE_FOLLOW, leader_call_id=leader)
        return pb.JoinCallResponse(
            role=pb.CALL_ROLE_LEAD,
            leader_call_id=leader,
            lease_duration=Duration(seconds=int(LEASE_SECONDS)),
        )

    async def wait(self, request: pb.AwaitAnswerRequest, who: Principal) -> pb.AwaitAnswerResponse:
        """Returns how the leading call stands. Raises InvalidArgument, NotFound, Overloaded."""
        call, call_id, leader = wire.parse_wait(request, who)
        seconds, deadline = WAIT_SECONDS_MAX, server.deadline()
        if deadline is not None:
            left = deadline - asyncio.get_running_loop().time() - MARGIN_SECONDS
            seconds = max(0.0, min(seconds, left))
        try:
            answer = await self._waits.wait((call.digest, leader), seconds=seconds)
        except LostError:
            return pb.AwaitAnswerResponse(state=pb.ANSWER_STATE_LOST)
        if answer is None:
            return pb.AwaitAnswerResponse(state=pb.ANSWER_STATE_PENDING)
        self._book(call, call_id, leader, answer, who)
        return pb.AwaitAnswerResponse(
            state=pb.ANSWER_STATE_READY, answer=answer.content, saved_nanos=answer.cost_nanos
        )

    async def share(
        self, request: pb.ShareAnswerRequest, who: Principal
    ) -> pb.ShareAnswerResponse:
        """Shares an answer, or lets another call lead. Raises InvalidArgument, NotFound."""
        share = wire.parse_share(request, who)
        flight = (share.call.digest, share.call_id)
        if share.content is None or share.candidate is None:
            shared = await self._store.leave_flight(flight)
        else:
            shared = await self._store.share_flight(
                flight,
                share.content,
                keep_seconds=KEEP_SECONDS,
                cost_nanos=share.cost_nanos,
                candidate=share.candidate,
            )
        # Those who wait here need not hear it from the database.
        self.wake()
        return pb.ShareAnswerResponse(shared=shared)

    def wake(self) -> None:
        """Hears that something was shared."""
        self._waits.woken.set()

    async def run(self) -> None:
        """Gives answers to those who wait and forgets them later, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._waits.run())
            tasks.create_task(self._waits.prune())

    async def drain(self) -> None:
        """Returns when what is under way is booked."""
        if self._bookings:
            await asyncio.wait(self._bookings)

    def _book(
        self, call: Shared, call_id: str, leader: str, answer: Answer, who: Principal
    ) -> None:
        """Books a call that was answered by another one, beside its answer: it moves no money."""
        usage = accounting_pb2.UsageReport(
            org=call.org,
            call_id=call_id,
            parent_call_id=leader,
            operation=call.operation,
            candidate=call_pb2.Candidate(
                provider=answer.candidate.provider, model=answer.candidate.model
            ),
            price_version=self._prices.current().version,
            api_key_id=who.actor,
            session=call.session,
            outcome=call_pb2.CALL_OUTCOME_SUCCEEDED,
            saved_nanos=answer.cost_nanos,
        )
        usage.admit_time.FromDatetime(answer.share_time)
        task = asyncio.create_task(self._record(usage))
        self._bookings.add(task)
        task.add_done_callback(self._bookings.discard)

    async def _record(self, usage: accounting_pb2.UsageReport) -> None:
        try:
            await self._accounting.record.submit(usage, deadline=None)
        except ServiceError as error:
            log.warning("shared_call_not_booked", reason=error.reason)
