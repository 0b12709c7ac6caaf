"""What health finds, as it reaches people: alerts, statuses, toggles; and long probes."""

from __future__ import annotations

from headgate.api.common.v1 import call_pb2, channel_pb2
from headgate.api.gateway.v1 import admin_pb2, channel_admin_pb2
from headgate.api.gateway.v1 import gateway_pb2 as pb
from headgate.api.gateway.v1.channel_admin_pb2_grpc import ChannelAdminServiceStub
from headgate.api.health.v1.health_pb2_grpc import HealthServiceStub
from services.accounting.delivery.gate import Gate, Opening
from tests.integration.accounting.receivers import receiving
from tests.integration.gateway.system import (
    ADMIN_KEY,
    GLOBEX_KEY,
    TOKEN,
    Keyed,
    System,
    eventually,
)
from tests.integration.gateway.test_alert_flow import know_each_other
from tests.integration.gateway.test_breakers import (
    CLOSED,
    FAILED,
    SUCCEEDED,
    break_provider,
    decide,
    end,
    quick,
    see,
)

__all__ = ["quick"]

REJECTED = call_pb2.CALL_OUTCOME_REJECTED


async def test_a_refused_credential_is_told_with_the_first_call_and_so_is_its_end(
    system: System,
) -> None:
    await know_each_other(system)
    backend = system.backend()
    async with receiving() as receiver:
        channel = channel_pb2.Channel(
            channel_id="hook",
            kind=channel_pb2.CHANNEL_KIND_WEBHOOK,
            url=receiver.url,
            types=["credential"],
        )
        stub = Keyed(ChannelAdminServiceStub(system.channel()), ADMIN_KEY)
        await stub.PutChannel(channel_admin_pb2.PutChannelRequest(channel=channel), timeout=30.0)

        async def told(count: int) -> bool:
            return len(receiver.posts) >= count

        decision = await decide(backend)
        permit = decision.admission.permit
        await backend.CompleteCall(
            pb.CompleteCallRequest(permit=permit, outcome=REJECTED, error_type="401")
        )
        [part] = await see(backend, decision.admission.candidate.provider)
        await eventually(lambda: told(1))
        await end(backend, await decide(backend), SUCCEEDED)
        await eventually(lambda: told(2))

        assert [post.json["type"] for post in receiver.posts] == [
            "credential.refused",
            "credential.accepted",
        ]
        provider = decision.admission.candidate.provider
        data = {"provider": provider, "credential": "acme"}
        assert [post.json["data"] for post in receiver.posts] == [data, data]
        assert receiver.posts[0].json["severity"] == "critical"
        assert (part.credential, part.state) == ("acme", CLOSED)
        assert part.HasField("refuse_time")


async def test_accounting_reads_for_whom_notifications_are_off(system: System) -> None:
    stub = HealthServiceStub(system.channel("health"))
    metadata = (("authorization", f"Bearer {TOKEN}"),)
    gate = Gate(
        lambda request, *, timeout: stub.ListToggles(request, timeout=timeout, metadata=metadata)
    )
    staff = system.staff()

    def put(*, enabled: bool, org: str = "") -> admin_pb2.PutToggleRequest:
        return admin_pb2.PutToggleRequest(
            toggle_id="notifications", enabled=enabled, org=org, reason="trial"
        )

    await staff.PutToggle(put(enabled=False, org="acme"))
    await gate.refresh()
    of_acme = gate.opening
    await staff.PutToggle(put(enabled=False))
    await staff.PutToggle(put(enabled=True, org="acme"))
    await gate.refresh()

    assert of_acme == Opening(exceptions=("acme",))
    assert gate.opening == Opening(by_default=False, exceptions=("acme",))


async def test_a_probe_keeps_its_place_for_as_long_as_its_call_may_take(quick: System) -> None:
    backend = quick.backend()
    await break_provider(quick, "openai")
    await break_provider(quick, "anthropic")
    decisions: list[pb.CallDecision] = []

    async def is_probing() -> bool:
        decisions[:] = [await decide(backend)]
        return decisions[0].WhichOneof("decision") == "admission"

    await eventually(is_probing)
    statement = "SELECT max(expire_time - clock_timestamp()) AS left FROM circuit_permit"
    (before,) = await quick.fetch("health", statement)
    request = pb.ExtendCallRequest(permit=decisions[0].admission.permit)
    request.hold_duration.FromSeconds(7_200)
    await backend.ExtendCall(request)
    (after,) = await quick.fetch("health", statement)

    assert before["left"].total_seconds() < 3_600 < after["left"].total_seconds()


async def test_a_provider_that_answers_none_of_those_who_call_is_down_to_them(
    quick: System,
) -> None:
    backend, other = quick.backend(), quick.backend(GLOBEX_KEY)
    for _ in range(2):
        await end(backend, await decide(backend), FAILED)
    await see(backend, "openai")

    async def level_for(caller: Keyed) -> int:
        watched = aiter(caller.WatchStatus(pb.WatchStatusRequest()))
        status = (await anext(watched)).status
        levels: dict[str, int] = {each.provider: each.level for each in status.providers}
        return levels["openai"]

    alone = await backend.GetStatus(pb.GetStatusRequest())
    levels = [await level_for(backend), await level_for(other)]
    await decide(other)
    both = await backend.GetStatus(pb.GetStatusRequest())

    # Nobody but acme calls: its breaker is all that there is to know.
    assert (list(alone.down_providers), alone.state) == (["openai"], pb.SERVICE_STATE_DEGRADED)
    assert levels == [pb.PROVIDER_LEVEL_DOWN, pb.PROVIDER_LEVEL_HEALTHY]
    assert list(both.down_providers) == []
