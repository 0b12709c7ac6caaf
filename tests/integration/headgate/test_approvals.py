"""Leave for calls, through the client: asked for, waited for, taken to the call."""

from __future__ import annotations

import asyncio
import threading

import pytest

import headgate
from headgate import ApprovalState, CallOutcome
from headgate.testing import API_KEY, FakeGateway, serve_gateway

PAY = "summarize"


@pytest.fixture
def fake() -> FakeGateway:
    made = FakeGateway()
    made.ledger.approvals.operations.add(PAY)
    return made


async def test_a_call_is_made_when_a_person_gives_leave(fake: FakeGateway) -> None:
    async with fake.client() as client:
        with pytest.raises(headgate.Denied) as denied:
            async with client.call(PAY):
                pass
        pending = await client.request_approval(PAY, summary="Pay T-17.", input_tokens=7)
        assert pending is not None
        waiting = asyncio.create_task(pending.wait())
        await fake.wait_for_rpc("AwaitApproval")
        assert not waiting.done()
        assert fake.ledger.entries == {}
        fake.ledger.approvals.approve(pending.approval.call_id, reason="fine")
        decided = await waiting
        async with pending.call() as call:
            call.report(output_tokens=1)

    assert denied.value.decision.reason is headgate.DenialReason.APPROVAL_REQUIRED
    assert decided.approved
    assert (decided.reason, pending.approval) == ("fine", decided)
    assert call.call_id == decided.call_id
    assert call.receipt is not None


async def test_without_leave_it_is_denied_and_says_so(fake: FakeGateway) -> None:
    async with fake.client() as client:
        pending = await client.request_approval(PAY, summary="Pay T-17.")
        assert pending is not None
        early = await pending.wait(0.05)
        fake.ledger.approvals.reject(pending.approval.call_id, reason="Too dear.")
        decided = await pending.wait()
        with pytest.raises(headgate.Denied) as denied:
            async with pending.call():
                pass

    assert early.state is ApprovalState.PENDING
    assert (decided.state, decided.reason) == (ApprovalState.REJECTED, "Too dear.")
    assert denied.value.decision.reason is headgate.DenialReason.APPROVAL_REFUSED
    assert denied.value.fallback_text


async def test_a_leave_lasts_over_a_failed_candidate(fake: FakeGateway) -> None:
    async def body(call: headgate.Call) -> str:
        if call.provider == "openai":
            call.fail(CallOutcome.PROVIDER_FAILED)
            raise ConnectionError
        return call.provider

    async with fake.client() as client:
        pending = await client.request_approval(PAY, summary="Pay T-17.")
        assert pending is not None
        fake.ledger.approvals.approve(pending.approval.call_id)
        assert await pending.call().run(body) == "anthropic"


async def test_what_needs_nobody_is_not_asked_about(fake: FakeGateway) -> None:
    fake.ledger.approvals.operations.clear()
    async with fake.client() as client:
        assert await client.request_approval(PAY, summary="Pay T-17.") is None


async def test_whoever_waits_outlives_a_gateway_and_may_be_another_process(
    fake: FakeGateway,
) -> None:
    async with serve_gateway(fake), headgate.Client(fake.target, api_key=API_KEY) as client:
        pending = await client.request_approval(PAY, summary="Pay T-17.", input_tokens=7)
    assert pending is not None
    approval_id, call_id = pending.approval.approval_id, pending.approval.call_id
    async with headgate.Client(fake.target, api_key=API_KEY) as client:
        waiting = asyncio.create_task(client.await_approval(approval_id))
        async with serve_gateway(fake):
            await fake.wait_for_rpc("AwaitApproval")
        async with serve_gateway(fake):
            await fake.wait_for_rpc("AwaitApproval", count=2)
            fake.ledger.approvals.approve(call_id)
            assert (await waiting).approved
            same = client.call(PAY, input_tokens=7, call_id=call_id, approval_id=approval_id)
            async with same as call:
                call.report(output_tokens=1)

    assert call.receipt is not None


async def test_somebody_elses_request_is_not_waited_for(fake: FakeGateway) -> None:
    async with fake.client() as client:
        with pytest.raises(headgate.NotFound):
            await client.await_approval("01890a5d-ac96-774b-bcce-b302099a8057")


async def test_a_callback_is_told(fake: FakeGateway) -> None:
    told: asyncio.Future[headgate.Approval] = asyncio.get_running_loop().create_future()
    async with fake.client() as client:
        pending = await client.request_approval(PAY, summary="Pay T-17.")
        assert pending is not None
        waiting = pending.on_decided(told.set_result)
        fake.ledger.approvals.expire(pending.approval.call_id)
        await waiting

    assert told.result().state is ApprovalState.EXPIRED


def test_the_blocking_face_does_the_same(fake: FakeGateway) -> None:
    told = threading.Event()
    with fake.sync_client() as client:
        pending = client.request_approval(PAY, summary="Pay T-17.", input_tokens=7)
        assert pending is not None
        early = pending.wait(0.05)
        pending.on_decided(lambda _: told.set())
        fake.ledger.approvals.approve(pending.approval.call_id)
        decided = pending.wait()
        with pending.call() as call:
            call.report(output_tokens=1)
        assert told.wait(10)
        assert client.await_approval(decided.approval_id) == decided
        fake.ledger.approvals.operations.clear()
        assert client.request_approval(PAY, summary="Pay T-18.") is None

    assert early.state is ApprovalState.PENDING
    assert decided.approved
    assert call.receipt is not None
