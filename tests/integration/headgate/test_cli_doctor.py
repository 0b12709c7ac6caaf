"""`headgate doctor` on the real services."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from headgate.api.common.v1 import health_pb2
from headgate.api.gateway.v1 import gateway_pb2
from headgate.cli.doctor import examine
from tests.integration.gateway.system import ADMIN_KEY, System, eventually
from tests.integration.headgate.commands import Commands
from tests.integration.headgate.real import running_system

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(postgres_url: str, pytestconfig: pytest.Config) -> AsyncIterator[System]:
    async with running_system(postgres_url, pytestconfig) as running:
        yield running


async def test_a_stop_is_found_and_what_to_do_about_it(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADGATE_ADMIN_KEY", ADMIN_KEY)
    command = Commands(system.addresses["gateway"])
    sound = await command("doctor")
    await command("kill", "--reason", "drill", "--org", "acme", "--yes")

    async def is_found() -> bool:
        return (await command("doctor")).code == 1

    await eventually(is_found)
    found = json.loads((await command("doctor", "--json")).out)["findings"]
    wrong = {each["check"]: each["remedy"] for each in found if each["remedy"]}

    assert sound.code == 0, sound.out
    assert "0 of 6 checks found something wrong." in sound.out
    assert wrong == {"stops": "lift them with `headgate resume` when it is time"}


async def test_what_a_status_tells_is_found() -> None:
    status = gateway_pb2.GetStatusResponse(stale=True, down_providers=["openai"])
    status.kills.add(kill_id="platform", state=health_pb2.KILL_STATE_INTENDED)
    part = status.parts.add(provider="openai", credential="acme")
    part.refuse_time.GetCurrentTime()

    found = {each.check: each.found for each in examine(status) if each.remedy}

    assert found == {
        "health": "is not heard: what follows may be old",
        "stops": "wait for admission: platform",
        "providers": "answer nobody: openai",
        "credentials": "refused: openai acme",
    }
