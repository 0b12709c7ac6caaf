"""When nobody decides: the declared policy, and who hears of it."""

from __future__ import annotations

import grpc
import pytest

import headgate
from headgate import IncidentKind
from headgate.api.gateway.v1 import gateway_pb2
from headgate.testing import Failure, FakeGateway

GONE = Failure(code=grpc.StatusCode.UNAVAILABLE, reason="PEER_UNAVAILABLE")
ANSWER_LOST = Failure(code=grpc.StatusCode.UNAVAILABLE, reason="PEER_UNAVAILABLE", after=True)
BUSY = Failure(code=grpc.StatusCode.RESOURCE_EXHAUSTED, reason="OVERLOADED")
OWN = headgate.Candidate("openai", "gpt-4o")


@pytest.fixture
def fake() -> FakeGateway:
    return FakeGateway()


@pytest.mark.parametrize("failure", [GONE, BUSY], ids=["gone", "busy"])
async def test_a_call_is_denied_with_the_fallback_text_that_headgate_last_gave(
    fake: FakeGateway, failure: Failure
) -> None:
    async with fake.client(admission_timeout_seconds=0.1) as client:
        async with client.call("summarize"):
            pass
        fake.faults.plant("admit", *[failure] * 100)
        call = client.call("summarize", fallback_text="of the caller's")
        with pytest.raises(headgate.Denied) as caught:
            await call.__aenter__()

        assert caught.value.decision.reason is headgate.DenialReason.UNREACHABLE
        assert isinstance(caught.value.__cause__, headgate.RpcError)
        assert caught.value.fallback_text == call.fallback_text == "Please try again later."
        assert client.incidents == {IncidentKind.UNREACHABLE_DENIED: 1}
    assert fake.ledger.held_nanos("acme") == 0


async def test_the_words_that_come_with_an_error_are_shown_first(fake: FakeGateway) -> None:
    told = Failure(
        code=grpc.StatusCode.UNAVAILABLE,
        reason="PEER_UNAVAILABLE",
        metadata={"fallback_text": "Leider nicht, Ada."},
    )
    fake.faults.plant("admit", *[told] * 100)
    async with fake.client(admission_timeout_seconds=0.1) as client:
        with pytest.raises(headgate.Denied) as caught:
            await client.call("summarize", locale="de", variables={"name": "Ada"}).__aenter__()

    assert caught.value.fallback_text == "Leider nicht, Ada."


async def test_no_callers_variables_are_shown_to_another(fake: FakeGateway) -> None:
    fake.ledger.fallback_text = "Sorry Ada."
    async with fake.client(admission_timeout_seconds=0.1) as client:
        async with client.call("summarize", variables={"name": "Ada"}):
            pass
        fake.faults.plant("admit", *[GONE] * 100)
        with pytest.raises(headgate.Denied) as caught:
            await client.call("summarize", fallback_text="Sorry.").__aenter__()

    assert caught.value.fallback_text == "Sorry."


async def test_who_never_heard_of_a_fallback_text_shows_the_callers(fake: FakeGateway) -> None:
    fake.faults.plant("admit", *[GONE] * 100)
    async with fake.client(admission_timeout_seconds=0.05) as client:
        call = client.call("summarize", on_denied="return", fallback_text="Sorry.")
        async with call:
            assert not call.admitted

    assert call.fallback_text == "Sorry."


async def test_a_call_is_let_through_and_that_is_counted_and_told(fake: FakeGateway) -> None:
    told: list[headgate.Incident] = []
    fake.faults.plant("admit", *[GONE] * 100)
    async with fake.client(
        admission_timeout_seconds=0.05, on_unreachable="allow", on_incident=told.append
    ) as client:
        async with client.call("summarize", default_candidate=OWN) as call:
            assert (call.candidate, call.governed) == (OWN, False)
            call.report(output_tokens=1)

        assert client.incidents[IncidentKind.LET_THROUGH] == 1
    assert [each.kind for each in told] == [IncidentKind.LET_THROUGH, IncidentKind.REPORT_LOST]
    assert {each.call_id for each in told} == {call.call_id}
    assert isinstance(call.completion_error, headgate.NotFound)


async def test_what_is_let_through_is_bounded_as_headgate_last_bounded_it(
    fake: FakeGateway,
) -> None:
    async with fake.client(admission_timeout_seconds=0.05, on_unreachable="allow") as client:
        calls = [client.call("summarize") for _ in range(3)]
        bounds = []
        for number, call in enumerate(calls):
            if number != 1:
                fake.faults.plant("admit", *[GONE] * 20)
            async with call:
                bounds.append(call.max_output_tokens)
            while fake.faults.take("admit"):
                pass

    # Said by nobody, by the operation's default, by what is remembered of it.
    assert bounds == [4_096, 256, 256]


async def test_what_was_let_through_settles_a_hold_whose_answer_was_lost(
    fake: FakeGateway,
) -> None:
    fake.faults.plant("admit", *[ANSWER_LOST] * 100)
    client = fake.client(admission_timeout_seconds=0.05, on_unreachable="allow")
    async with client, client.call("summarize") as call:
        call.report(output_tokens=2)

    entry = fake.ledger.entry(call.call_id)
    assert entry.state == gateway_pb2.FINISHED_STATE_SETTLED
    assert entry.settled_nanos == 8_000
    assert call.receipt is not None


async def test_what_was_let_through_and_never_left_returns_such_a_hold(fake: FakeGateway) -> None:
    fake.faults.plant("admit", *[ANSWER_LOST] * 100)
    client = fake.client(admission_timeout_seconds=0.05, on_unreachable="allow")
    async with client, client.call("summarize") as call:
        call.release()

    assert fake.ledger.entry(call.call_id).state == gateway_pb2.FINISHED_STATE_RELEASED


async def test_the_error_is_raised_if_that_is_the_policy(fake: FakeGateway) -> None:
    fake.faults.plant("admit", *[GONE] * 100)
    async with fake.client(admission_timeout_seconds=0.05, on_unreachable="raise") as client:
        with pytest.raises((headgate.Unavailable, headgate.DeadlineExceeded)):
            await client.call("summarize").__aenter__()


async def test_a_refusal_is_no_outage(fake: FakeGateway) -> None:
    async with fake.client(on_unreachable="allow", api_key="hg_k9_wrong") as client:
        with pytest.raises(headgate.Unauthenticated):
            await client.call("summarize").__aenter__()


async def test_a_listener_that_fails_does_no_harm(
    fake: FakeGateway, told: pytest.LogCaptureFixture
) -> None:
    def listen(incident: headgate.Incident) -> None:
        raise ValueError(incident.operation)

    fake.faults.plant("admit", *[GONE] * 100)
    async with fake.client(admission_timeout_seconds=0.05, on_incident=listen) as client:
        with pytest.raises(headgate.Denied):
            await client.call("summarize").__aenter__()
    assert "the listener for incidents failed" in told.text


async def test_a_failover_whose_next_candidate_nobody_decides_on_tells_both(
    fake: FakeGateway,
) -> None:
    async def ask(call: headgate.Call) -> str:
        fake.faults.plant("admit", *[GONE] * 100)
        raise ConnectionError("down")

    async with fake.client(admission_timeout_seconds=0.05) as client:
        with pytest.raises(headgate.AllCandidatesFailed) as caught:
            await client.run("summarize", ask)

    first, second = caught.value.failures
    assert isinstance(first, ConnectionError)
    assert isinstance(second, (headgate.Unavailable, headgate.DeadlineExceeded))
    assert caught.value.fallback_text == "Please try again later."
