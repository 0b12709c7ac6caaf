"""Whether deliveries may leave: health's toggle `notifications`, for all and for each org."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import structlog

from chassis.looking import keep_looking
from headgate.api.common.v1 import toggle_pb2
from headgate.api.health.v1 import health_pb2

TOGGLE: Final = "notifications"
# How late a change of the toggle binds.
POLL_SECONDS: Final = 1.0
RPC_TIMEOUT_SECONDS: Final = 2.0

# The RPC of health.
ListToggles: TypeAlias = Callable[..., Awaitable[health_pb2.ListTogglesResponse]]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Opening:
    """For whose channels deliveries may leave."""

    # For all but the exceptions.
    by_default: bool = True
    # Orgs where it is otherwise.
    exceptions: tuple[str, ...] = ()


OPEN: Final = Opening()


class Gate:
    """Remembers what health last said. Until it has said something deliveries leave: that health
    is away is what people want to hear of.
    """

    def __init__(self, list_toggles: ListToggles | None) -> None:
        """None: nobody said where health is."""
        self._list_toggles = list_toggles
        self.opening = OPEN

    async def refresh(self) -> None:
        """Asks health. Raises AioRpcError."""
        if self._list_toggles is None:
            return
        request = health_pb2.ListTogglesRequest(toggle_id=TOGGLE)
        answer = await self._list_toggles(request, timeout=RPC_TIMEOUT_SECONDS)
        opening = read_opening(answer.toggles[0]) if answer.toggles else OPEN
        if opening != self.opening:
            log.warning(
                "notifications_switched", on=opening.by_default, but_for=list(opening.exceptions)
            )
        self.opening = opening

    async def run(self) -> None:
        """Asks until cancelled."""
        await keep_looking(
            self.refresh, pause=lambda: POLL_SECONDS, failed="notifications_toggle_not_read"
        )


def read_opening(toggle: toggle_pb2.Toggle) -> Opening:
    """Returns what the toggle says of each org; a channel has no operation, so rules about one
    are about others.
    """
    return Opening(
        toggle.enabled,
        tuple(
            sorted(
                rule.org
                for rule in toggle.rules
                if rule.org and not rule.operation and rule.enabled != toggle.enabled
            )
        ),
    )
