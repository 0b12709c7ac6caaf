"""Identical calls that are under way at once: one is made, and all get its answer.

Only for operations whose route allows it. Whatever goes wrong between the callers costs a call of
their own, not an answer: sharing is a saving, not a promise.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Final, TypeAlias

from headgate.api.gateway.v1 import gateway_pb2 as pb
from headgate.call import Call
from headgate.config import Mode
from headgate.errors import DeadlineExceeded, Overloaded, RpcError, Unavailable
from headgate.wire import render_candidate

if TYPE_CHECKING:
    from headgate.connection import Connection
    from headgate.desk import Desk
    from headgate.plan import Plan

# A greater answer is its caller's alone.
ANSWER_BYTES_MAX: Final = 1_048_576
# One RPC; whoever waits longer asks again.
TIMEOUT_SECONDS: Final = 5.0
WAIT_SECONDS: Final = 12.0
# A lease is renewed so many times before it would end.
RENEWALS: Final = 3

Body: TypeAlias = "Callable[[Call], Awaitable[bytes]]"


def digest(payload: object) -> str:
    """Returns what tells one payload from another: the same for the same JSON value or bytes,
    whatever the order of its members.
    """
    if not isinstance(payload, bytes):
        text = json.dumps(payload, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        payload = text.encode("utf-8", "surrogatepass")
    return hashlib.sha256(payload).hexdigest()


async def run(desk: Desk, plan: Plan, body: Body, *, key: str, across_sessions: bool) -> bytes:
    """Returns the answer of one of the identical calls; see `Session.share`."""
    call = pb.SharedCall(
        org=plan.org,
        operation=plan.operation,
        key=key,
        session=plan.session,
        across_sessions=across_sessions,
    )
    party = _Party(desk, plan, call)
    while True:
        role, leader = await party.join()
        if role == pb.CALL_ROLE_LEAD:
            return await party.lead(body)
        if role != pb.CALL_ROLE_FOLLOW:
            return await Call(plan, desk).run(body)
        answer = await party.follow(leader)
        if answer is not None:
            return answer


class _Party:
    """One caller among those of identical calls."""

    def __init__(self, desk: Desk, plan: Plan, call: pb.SharedCall) -> None:
        self._desk = desk
        self._plan = plan
        self._call = call

    async def join(self) -> tuple[int, str]:
        """Returns the caller's part, and which call leads. Whoever can't know that is alone."""
        if self._desk.policies.mode is not Mode.ON:
            return pb.CALL_ROLE_ALONE, ""
        try:
            joined = await self._join(self._desk.connect())
        except RpcError as error:
            if not _is_elsewhere(error):
                raise
            return pb.CALL_ROLE_ALONE, ""
        return joined.role, joined.leader_call_id

    async def lead(self, body: Body) -> bytes:
        """Makes the call and shares its answer. Whatever it raises, another caller leads then."""
        last: list[Call] = []

        async def ask(call: Call) -> bytes:
            last[:] = [call]
            return await body(call)

        share = pb.ShareAnswerRequest(call=self._call, call_id=self._plan.call_id)
        try:
            async with self._renewing():
                answer = await Call(self._plan, self._desk).run(ask)
            if len(answer) <= ANSWER_BYTES_MAX:
                share.answer = answer
                share.candidate.CopyFrom(render_candidate(last[0].candidate))
                share.cost_nanos = last[0].receipt.total_nanos if last[0].receipt else 0
            return answer
        finally:
            # Nobody's answer waits for this, and a cancelled caller must let others lead, too.
            connection = self._desk.connect()
            connection.own(self._share(connection, share))

    async def follow(self, leader: str) -> bytes | None:
        """Returns the leader's answer. None: it has none, so somebody else must lead."""
        request = pb.AwaitAnswerRequest(
            call=self._call, call_id=self._plan.call_id, leader_call_id=leader
        )
        while True:
            try:
                told = await self._desk.connect().ask(
                    lambda stub: stub.AwaitAnswer, request, timeout=WAIT_SECONDS
                )
            except RpcError as error:
                if not _is_elsewhere(error):
                    raise
                return None
            if told.state == pb.ANSWER_STATE_READY:
                answer: bytes = told.answer
                return answer
            if told.state != pb.ANSWER_STATE_PENDING:
                return None

    async def _join(self, connection: Connection) -> pb.JoinCallResponse:
        request = pb.JoinCallRequest(call=self._call, call_id=self._plan.call_id)
        return await connection.ask(lambda stub: stub.JoinCall, request, timeout=TIMEOUT_SECONDS)

    @contextlib.asynccontextmanager
    async def _renewing(self) -> AsyncIterator[None]:
        """Keeps the lead while the block runs."""
        renewal = asyncio.create_task(self._renew())
        try:
            yield
        finally:
            renewal.cancel()

    async def _renew(self) -> None:
        seconds = 1.0
        while True:
            await asyncio.sleep(seconds)
            # Who lost the lead makes the call all the same: others may have begun another one.
            with contextlib.suppress(RpcError):
                joined = await self._join(self._desk.connect())
                if joined.role != pb.CALL_ROLE_LEAD:
                    return
                seconds = joined.lease_duration.ToMilliseconds() / 1_000 / RENEWALS

    async def _share(self, connection: Connection, share: pb.ShareAnswerRequest) -> None:
        # Else the lease ends by itself.
        with contextlib.suppress(RpcError):
            await connection.ask(lambda stub: stub.ShareAnswer, share, timeout=TIMEOUT_SECONDS)


def _is_elsewhere(error: RpcError) -> bool:
    """Tells whether the trouble is the gateways', not the call's."""
    away = isinstance(error, (Unavailable, DeadlineExceeded, Overloaded))
    return away or error.code == "UNIMPLEMENTED"


def key_of(key: str, payload: bytes | Mapping[str, object] | None) -> str:
    """Returns what tells the question from others. Raises ValueError unless one is given."""
    if bool(key) == (payload is not None):
        raise ValueError("say either the key or the payload that identical calls have in common")
    return key or digest(payload)
