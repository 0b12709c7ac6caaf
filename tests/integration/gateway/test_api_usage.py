"""How the API itself is used: counted by method and caller over all gateways, and kept small."""

from __future__ import annotations

import asyncpg
import grpc
import pytest

from gateway import api_uses
from gateway.api_uses import OTHERS, ApiUses
from gateway.principals import NOBODY
from gateway.store import Store
from headgate.api.gateway.v1 import admin_pb2, api_admin_pb2, api_admin_pb2_grpc
from tests.integration.gateway.system import ACME_KEY, ADMIN_KEY, Keyed, System, refusal
from tests.integration.headgate.commands import Commands

ACTOR = ADMIN_KEY.split("_")[1]


def api(system: System, key: str = ADMIN_KEY) -> Keyed:
    return Keyed(api_admin_pb2_grpc.ApiAdminServiceStub(system.channel()), key)


async def test_rpcs_of_staff_are_counted_by_method_and_caller_over_two_gateways(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADGATE_ADMIN_KEY", ADMIN_KEY)
    await system.start("other")
    staff, stranger = system.staff(), system.staff(ACME_KEY)
    for _ in range(3):
        await staff.ListRoutes(admin_pb2.ListRoutesRequest())
    await refusal(staff.PutLimit(admin_pb2.PutLimitRequest()))
    await refusal(stranger.ListRoutes(admin_pb2.ListRoutesRequest()))
    elsewhere = Keyed(api_admin_pb2_grpc.ApiAdminServiceStub(system.channel("other")), ADMIN_KEY)
    await elsewhere.GetApiUsage(api_admin_pb2.GetApiUsageRequest())
    # A gateway that drains writes what it has counted.
    await system.stop("other")
    await system.stop("gateway")
    await system.start("gateway")
    answer = await api(system).GetApiUsage(api_admin_pb2.GetApiUsageRequest(day_count=1))
    mine = await api(system).GetApiUsage(
        api_admin_pb2.GetApiUsageRequest(method="ListRoutes", actor=ACTOR)
    )
    shown = await Commands(system.addresses["gateway"])("api-usage", "--method", "ListRoutes")

    counted = {
        (each.method, each.actor): (each.call_count, each.refused_count, each.failed_count)
        for each in answer.usages
    }
    assert counted == {
        ("ListRoutes", ACTOR): (3, 0, 0),
        ("ListRoutes", ""): (1, 1, 0),
        ("PutLimit", ACTOR): (1, 1, 0),
        ("GetApiUsage", ACTOR): (1, 0, 0),
    }
    assert [each.call_count for each in mine.usages] == [3]
    assert ["ListRoutes", ACTOR, "3", "0", "0"] in shown.rows()


async def test_what_is_kept_is_bounded(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = await asyncpg.create_pool(system.url, server_settings={"search_path": "gateway"})
    uses = ApiUses(Store(pool))
    monkeypatch.setattr(api_uses, "KEY_COUNT_MAX", 2)
    for number in range(5):
        uses.observe(NOBODY, f"/s/Method{number}", grpc.StatusCode.OK)
    await uses.flush()
    await pool.execute("UPDATE api_use SET day = day - 91 WHERE method = 'Method0'")
    uses.observe(None, "/s/Method1", grpc.StatusCode.INTERNAL)
    await uses.flush()
    rows = await pool.fetch("SELECT method, actor, failed_count FROM api_use ORDER BY 1, 2")
    await pool.close()

    assert [tuple(row) for row in rows] == [
        ("Method1", "", 1),
        ("Method1", "nobody", 0),
        ("Method2", OTHERS, 0),
        ("Method3", OTHERS, 0),
        ("Method4", OTHERS, 0),
    ]
