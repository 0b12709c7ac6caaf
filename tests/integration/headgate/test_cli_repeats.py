"""What the command line sends again while nobody answers, and what it must not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest

from headgate.api.gateway.v1 import admin_pb2, admin_pb2_grpc
from headgate.testing import Failure
from tests.integration.gateway.system import ADMIN_KEY
from tests.integration.headgate.commands import Commands

GONE = Failure(code=grpc.StatusCode.UNAVAILABLE, reason="STORE_UNAVAILABLE", after=True)


class Admin(admin_pb2_grpc.AdminServiceServicer):
    """Does what it is asked for and loses its first answer."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def CreateApiKey(  # noqa: N802 - the contract's name
        self, request: admin_pb2.CreateApiKeyRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> admin_pb2.CreateApiKeyResponse:
        await self._answer("CreateApiKey", context)
        return admin_pb2.CreateApiKeyResponse()

    async def DeleteLimit(  # noqa: N802 - the contract's name
        self, request: admin_pb2.DeleteLimitRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> admin_pb2.DeleteLimitResponse:
        await self._answer("DeleteLimit", context)
        return admin_pb2.DeleteLimitResponse(limits_version=7)

    async def _answer(self, method: str, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        self.asked.append(method)
        if len(self.asked) == 1:
            await GONE.abort(context)


@pytest.fixture
async def admin(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Admin, Commands]]:
    monkeypatch.setenv("HEADGATE_ADMIN_KEY", ADMIN_KEY)
    servicer = Admin()  # type: ignore[abstract] # nobody asks for the other methods
    server = grpc.aio.server()
    admin_pb2_grpc.add_AdminServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield servicer, Commands(f"127.0.0.1:{port}")
    await server.stop(grace=0)


async def test_a_change_that_may_be_repeated_is_sent_again(admin: tuple[Admin, Commands]) -> None:
    servicer, command = admin
    result = await command("limits", "delete", "acme-daily", "--json")

    assert result.json() == {"limits_version": "7"}
    assert servicer.asked == ["DeleteLimit"] * 2


async def test_a_key_is_not_asked_for_twice(admin: tuple[Admin, Commands]) -> None:
    servicer, command = admin
    result = await command("keys", "create", "billing", "--org", "acme")

    assert (result.code, result.out) == (3, "")
    assert "STORE_UNAVAILABLE" in result.err
    assert servicer.asked == ["CreateApiKey"]
