"""Every method over the wire: who may call, and what each wrong field is answered."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc
import pytest
from google.protobuf.message import Message
from grpc_status import rpc_status

from chassis.statuses import ServiceError, parse_status
from headgate.api.common.v1 import call_pb2
from headgate.api.health.v1 import health_pb2 as pb
from headgate.api.health.v1 import health_pb2_grpc
from tests.integration.health.admission import StandIn
from tests.integration.health.replicas import Replica, fetch, serve_replica, settings_of
from tests.integration.health.test_watch import FAILED, outcome

PROBE: Final = pb.ProbeRequest(provider="openai", org="acme", call_id=str(uuid.uuid4()))
KILL: Final = pb.KillRequest(reason="runaway", message="Back soon.", actor="ada", audit_id="a-1")
RESUME: Final = pb.ResumeRequest(reason="fixed", actor="bob", audit_id="a-2")
REQUESTS: Final[dict[str, Message]] = {
    "Observe": pb.ObserveRequest(observations=[outcome(FAILED)]),
    "AcquireProbes": pb.AcquireProbesRequest(probes=[PROBE]),
    "Watch": pb.WatchRequest(),
    "GetHealth": pb.GetHealthRequest(),
    "Kill": KILL,
    "Resume": RESUME,
}


@pytest.fixture
async def replica(url: str, admission: str) -> AsyncIterator[Replica]:
    async with serve_replica(settings_of(url, admission=(admission,))) as served:
        yield served


def error_of(failed: pytest.ExceptionInfo[grpc.aio.AioRpcError]) -> ServiceError:
    status = rpc_status.from_call(failed.value)  # type: ignore[arg-type]  # has what it reads
    parsed = None if status is None else parse_status(status)
    assert parsed is not None
    return parsed


async def refuse(call: Any) -> ServiceError:
    """Awaits an RPC that must fail and returns what it failed with."""
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    return error_of(failed)


async def nothing_changed(url: str) -> bool:
    found = await fetch(url, "SELECT version FROM health_version WHERE version > 0")
    return found == [] and await fetch(url, "SELECT 1 FROM circuit") == []


@pytest.mark.parametrize("shown", [None, "Bearer something-else", "hg_demo_secret"])
async def test_nobody_without_the_service_token_gets_in(
    replica: Replica, url: str, shown: str | None
) -> None:
    metadata = () if shown is None else (("authorization", shown),)
    codes = {}
    async with grpc.aio.insecure_channel(replica.address) as channel:
        stub = health_pb2_grpc.HealthServiceStub(channel)
        for method, request in REQUESTS.items():
            call = getattr(stub, method)(request, metadata=metadata)
            error = await refuse(anext(aiter(call)) if method == "Watch" else call)
            codes[method] = error.code

    assert codes == dict.fromkeys(REQUESTS, grpc.StatusCode.UNAUTHENTICATED)
    assert await nothing_changed(url)


@pytest.mark.parametrize(
    ("method", "field"), [("Observe", "observations"), ("AcquireProbes", "probes")]
)
@pytest.mark.parametrize("size", [0, 257])
async def test_a_batch_of_the_wrong_size_is_refused_as_a_whole(
    replica: Replica, url: str, method: str, field: str, size: int
) -> None:
    request: Any = type(REQUESTS[method])()
    member = getattr(REQUESTS[method], field)[0]
    getattr(request, field).extend([member] * size)

    error = await refuse(getattr(replica.stub, method)(request))

    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT")
    assert [violation.field for violation in error.violations] == [field]
    assert "from 1 to 256" in error.violations[0].description
    assert await nothing_changed(url)


async def test_a_batch_of_the_greatest_size_is_served(replica: Replica) -> None:
    request = pb.ObserveRequest(observations=[outcome(FAILED) for _ in range(256)])

    assert (await replica.stub.Observe(request)).stale_count == 251


async def test_one_wrong_outcome_is_refused_and_the_others_count(replica: Replica) -> None:
    observations = [outcome(FAILED) for _ in range(6)]
    observations[2].provider = "Open AI"
    observations[2].call_id = "7"

    response = await replica.stub.Observe(pb.ObserveRequest(observations=observations))

    [refused] = response.errors
    assert refused.position == 2
    assert refused.error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert [violation.field for violation in refused.error.violations] == [
        "observations[2].provider",
        "observations[2].call_id",
    ]
    [provider] = (await replica.stub.GetHealth(pb.GetHealthRequest())).providers
    assert (provider.provider, provider.consecutive_failure_count) == ("openai", 5)


async def test_one_wrong_wish_is_refused_and_the_others_are_answered(replica: Replica) -> None:
    wrong = pb.ProbeRequest(provider="openai", org="", call_id=PROBE.call_id)

    response = await replica.stub.AcquireProbes(
        pb.AcquireProbesRequest(probes=[PROBE, wrong, PROBE])
    )

    assert [result.granted for result in response.results] == [True, False, True]
    assert [result.HasField("error") for result in response.results] == [False, True, False]
    assert response.results[1].error.violations[0].field == "probes[1].org"


async def test_a_batch_of_wrong_members_only_changes_nothing(replica: Replica, url: str) -> None:
    observed = await replica.stub.Observe(pb.ObserveRequest(observations=[pb.Observation()]))
    probed = await replica.stub.AcquireProbes(pb.AcquireProbesRequest(probes=[pb.ProbeRequest()]))

    assert (observed.stale_count, len(observed.errors), len(probed.results)) == (0, 1, 1)
    assert await nothing_changed(url)


@pytest.mark.parametrize("method", ["Kill", "Resume"])
async def test_an_order_without_who_or_why_is_refused_and_asks_nobody(
    replica: Replica, url: str, stand_in: StandIn, method: str
) -> None:
    for field in ("reason", "actor", "audit_id"):
        request: Any = type(REQUESTS[method])()
        request.CopyFrom(REQUESTS[method])
        request.ClearField(field)

        error = await refuse(getattr(replica.stub, method)(request))

        assert error.code is grpc.StatusCode.INVALID_ARGUMENT
        assert [violation.field for violation in error.violations] == [field]
    assert await nothing_changed(url)
    assert stand_in.requests == []


async def test_a_kill_and_its_lifting_as_a_gateway_sees_them(replica: Replica) -> None:
    killed = (await replica.stub.Kill(KILL)).kill
    shown = (await replica.stub.GetHealth(pb.GetHealthRequest())).kills
    resumed = (await replica.stub.Resume(RESUME)).kill

    assert list(shown) == [killed]
    assert (killed.kill_id, killed.sequence, killed.message) == ("platform", 1, "Back soon.")
    assert (resumed.sequence, resumed.actor, resumed.reason) == (2, "bob", "runaway")
    error = await refuse(replica.stub.Resume(RESUME))
    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "KILL_NOT_FOUND")


async def test_an_unacknowledged_kill_is_unavailable_and_says_that_it_stands(
    replica: Replica, stand_in: StandIn
) -> None:
    stand_in.failures = [grpc.StatusCode.UNAVAILABLE] * 2

    error = await refuse(replica.stub.Kill(KILL))

    assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "PEER_UNAVAILABLE")
    assert error.metadata == {"peer": "admission"}
    assert "the order stands" in error.message


async def test_a_deadline_that_ends_the_wait_leaves_the_order_standing(
    replica: Replica, stand_in: StandIn
) -> None:
    stand_in.answers.clear()
    killing = replica.stub.Kill(KILL, timeout=1.5)
    await stand_in.arrived()
    with pytest.raises(grpc.aio.AioRpcError):
        await killing

    [kill] = (await replica.stub.GetHealth(pb.GetHealthRequest())).kills
    assert kill.sequence == 1
    stand_in.answers.set()


async def test_outcomes_that_say_nothing_of_the_provider_do_not_count(replica: Replica) -> None:
    await replica.stub.Observe(
        pb.ObserveRequest(
            observations=[
                outcome(neutral)
                for neutral in (
                    call_pb2.CALL_OUTCOME_REJECTED,
                    call_pb2.CALL_OUTCOME_ABORTED,
                    call_pb2.CALL_OUTCOME_THROTTLED,
                )
                for _ in range(5)
            ]
        )
    )

    assert list((await replica.stub.GetHealth(pb.GetHealthRequest())).providers) == []
