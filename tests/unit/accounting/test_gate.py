"""What the toggle `notifications` says of each org's deliveries."""

from __future__ import annotations

import grpc
import pytest
from grpc.aio import AioRpcError, Metadata

from headgate.api.common.v1 import toggle_pb2
from headgate.api.health.v1 import health_pb2
from services.accounting.delivery.gate import OPEN, TOGGLE, Gate, Opening, read_opening


def toggle(*, enabled: bool, **rules: bool) -> toggle_pb2.Toggle:
    found = [toggle_pb2.ToggleRule(org=org, enabled=on) for org, on in rules.items()]
    found.append(toggle_pb2.ToggleRule(org="acme", operation="chat", enabled=not enabled))
    found.append(toggle_pb2.ToggleRule(operation="chat", enabled=not enabled))
    return toggle_pb2.Toggle(toggle_id=TOGGLE, enabled=enabled, rules=found)


class Health:
    """Answers with what it was told to."""

    def __init__(self, *answers: toggle_pb2.Toggle | Exception | None) -> None:
        self._answers = list(answers)

    async def list_toggles(
        self, request: health_pb2.ListTogglesRequest, *, timeout: float
    ) -> health_pb2.ListTogglesResponse:
        assert (request.toggle_id, timeout > 0) == (TOGGLE, True)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return health_pb2.ListTogglesResponse(toggles=[answer] if answer else [])


@pytest.mark.parametrize(
    ("said", "opening"),
    [
        (toggle(enabled=True), OPEN),
        (toggle(enabled=True, globex=False, acme=True), Opening(exceptions=("globex",))),
        (toggle(enabled=False, globex=True), Opening(by_default=False, exceptions=("globex",))),
    ],
)
def test_the_rule_of_an_org_is_an_exception(said: toggle_pb2.Toggle, opening: Opening) -> None:
    assert read_opening(said) == opening


async def test_what_health_said_last_holds_while_it_is_away() -> None:
    away = AioRpcError(grpc.StatusCode.UNAVAILABLE, Metadata(), Metadata())
    gate = Gate(Health(toggle(enabled=False), away, None).list_toggles)

    assert gate.opening == OPEN
    await gate.refresh()
    assert gate.opening == Opening(by_default=False)
    with pytest.raises(AioRpcError):
        await gate.refresh()
    assert gate.opening == Opening(by_default=False)
    await gate.refresh()
    assert gate.opening == OPEN


async def test_without_health_deliveries_leave() -> None:
    gate = Gate(None)

    await gate.refresh()

    assert gate.opening == OPEN
