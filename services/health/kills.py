"""The kill switch's use cases: order a stop, lift it, and repeat both until admission knows.

Order: the row says what is wanted and watchers learn of it; then admission's fence is set; then
the row says so; then the caller hears of it. Whatever fails on the way, the order stands, and the
loop of any replica drives it on.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Final, NoReturn, Protocol

import grpc
import structlog

from chassis.errors import NotFound, ServiceError
from services.health.domain import kills
from services.health.domain.kills import ChangeNote, Fence, KillOrder, KillSwitch, ResumeOrder
from services.health.store import Store

REDRIVE_INTERVAL_SECONDS: Final = 1.0
# Rounds of "set the fence, write it down" in one RPC. A round is lost only to a newer order, or
# once to a fence that is ahead after a restore from a backup.
ROUND_COUNT_MAX: Final = 5

log = structlog.get_logger()


class FenceUnavailableError(Exception):
    """Admission did not confirm a fence: whether it is set is unknown."""


class Fences(Protocol):
    """Admission, as far as kills need it."""

    async def put(self, switch: KillSwitch) -> Fence:
        """Sets or lifts the fence as the switch wants; returns the fence as it then is.

        Raises FenceUnavailableError.
        """


class NotAcknowledged(ServiceError):  # noqa: N818 - named like the errors of the chassis
    """The order is stored and is repeated until admission acknowledges it; it has not yet."""

    def __init__(self) -> None:
        super().__init__(
            "admission has not acknowledged yet: the order stands and is repeated until it has; "
            "ask again to wait for it",
            code=grpc.StatusCode.UNAVAILABLE,
            reason="PEER_UNAVAILABLE",
            metadata={"peer": "admission"},
        )


class Kills:
    """Kills and resumes, over a row that all replicas share and admission's fence."""

    def __init__(self, store: Store, fences: Fences) -> None:
        self._store = store
        self._fences = fences

    async def kill(self, order: KillOrder) -> KillSwitch:
        """Stops calls; when it returns a switch in force, no later call in scope is admitted.

        Admission is asked even if the same stop is in force: its word counts, not the row's. If
        somebody resumed meanwhile, the switch that it returns says so. Raises NotAcknowledged.
        """

        def decide(switch: KillSwitch | None, now: dt.datetime) -> KillSwitch:
            return kills.killed(switch, order, now=now)

        kill_id = kills.id_of(order.scope)
        switch = await self._store.change_kill(kill_id, decide, note=kills.note_of(order))
        log.warning("kill_intended", kill=kill_id, actor=order.actor, audit_id=order.audit_id)
        return await self._drive(switch, is_asked=False)

    async def resume(self, order: ResumeOrder) -> KillSwitch:
        """Lifts the stop. Raises NotFound if there is none, NotAcknowledged."""

        def decide(switch: KillSwitch | None, now: dt.datetime) -> KillSwitch:
            if switch is None or switch.state is kills.KillState.RESUMED:
                _refuse_unknown(order.kill_id)
            return kills.resumed(switch, order, now=now)

        switch = await self._store.change_kill(order.kill_id, decide, note=kills.note_of(order))
        log.warning(
            "resume_intended", kill=order.kill_id, actor=order.actor, audit_id=order.audit_id
        )
        return await self._drive(switch)

    async def run(self) -> None:
        """Drives pending orders on, each second, until cancelled. Safe on every replica."""
        while True:
            await asyncio.sleep(REDRIVE_INTERVAL_SECONDS)
            try:
                await self.redrive()
            except Exception as error:  # noqa: BLE001 - an order outlives whatever fails here
                log.error("kill_redrive_failed", error=repr(error))

    async def redrive(self) -> None:
        """Drives every pending order once, and lifts what is over.

        Each by itself: one that admission does not take holds no other up. Raises NotAcknowledged
        in the end if one was not taken, and what the store raises.
        """
        failed: NotAcknowledged | None = None
        for switch in await self._store.read_kills():
            if switch.is_wanted and switch.expire_time is not None:
                switch = await self._expire(switch)  # noqa: PLW2901 - the same one, as it now is
            if switch.is_pending:
                try:
                    await self._drive(switch)
                except NotAcknowledged as error:
                    failed = error
        if failed is not None:
            raise failed

    async def _expire(self, known: KillSwitch) -> KillSwitch:
        def decide(switch: KillSwitch | None, now: dt.datetime) -> KillSwitch:
            if switch is None:
                _refuse_unknown(known.kill_id)
            return kills.expired(switch, now=now)

        note = ChangeNote(audit_id="", actor=kills.EXPIRY, reason="its time is over")
        return await self._store.change_kill(known.kill_id, decide, note=note)

    async def _drive(self, sent: KillSwitch, *, is_asked: bool = True) -> KillSwitch:
        """`is_asked` False: admission is asked once even if nothing is pending."""
        if is_asked and not sent.is_pending:
            return sent
        for _ in range(ROUND_COUNT_MAX):
            try:
                fence = await self._fences.put(sent)
            except FenceUnavailableError as error:
                log.error("fence_not_acknowledged", kill=sent.kill_id, error=str(error))
                raise NotAcknowledged from error
            # The row as it is now: a newer order is driven on.
            sent = await self._acknowledge(sent, fence)
            if not sent.is_pending:
                return sent
        raise NotAcknowledged

    async def _acknowledge(self, sent: KillSwitch, fence: Fence) -> KillSwitch:
        def decide(switch: KillSwitch | None, now: dt.datetime) -> KillSwitch:
            if switch is None:
                _refuse_unknown(sent.kill_id)
            return kills.acknowledged(switch, sent=sent, fence=fence, now=now)

        after = await self._store.change_kill(sent.kill_id, decide, note=None)
        log.warning(
            "fence_answered",
            kill=after.kill_id,
            state=after.state.value,
            sequence=after.sequence,
            fence_sequence=fence.sequence,
            fence_active=fence.active,
        )
        return after


def _refuse_unknown(kill_id: str) -> NoReturn:
    raise NotFound("kill", kill_id)
