"""One candidate after the other, each under an id and a hold of its own."""

from __future__ import annotations

import grpc
import pytest

import headgate
from headgate.api.common.v1 import call_pb2
from headgate.api.gateway.v1 import gateway_pb2
from headgate.testing import Failure, FakeGateway

FIRST = headgate.Candidate("openai", "gpt-4o-mini")
SECOND = headgate.Candidate("anthropic", "claude-3-5-haiku-latest")


class Provider:
    """Fails for some candidates, and remembers who was asked under which id."""

    def __init__(self, *failing: headgate.Candidate, error: Exception | None = None) -> None:
        self.failing = failing
        self.error = error or ConnectionError("down")
        self.calls: list[headgate.Call] = []

    async def __call__(self, call: headgate.Call) -> str:
        self.calls.append(call)
        if call.candidate in self.failing:
            raise self.error
        call.report(input_tokens=1, output_tokens=1)
        return f"from {call.provider}"


async def test_the_next_candidate_answers_under_its_own_id(
    gateway: FakeGateway, client: headgate.Client
) -> None:
    provider = Provider(FIRST)

    assert await client.run("summarize", provider, input_tokens=10) == "from anthropic"
    first, second = provider.calls
    entries = gateway.ledger.entries
    assert set(entries) == {("acme", first.call_id), ("acme", second.call_id)}
    assert entries["acme", first.call_id].parent_call_id == ""
    assert entries["acme", second.call_id].parent_call_id == first.call_id
    assert second.excluded == (FIRST,)
    assert second.call_id > first.call_id

    outcomes = [entries["acme", call.call_id].report for call in provider.calls]
    assert [each.outcome for each in outcomes if each is not None] == [
        call_pb2.CALL_OUTCOME_PROVIDER_FAILED,
        call_pb2.CALL_OUTCOME_SUCCEEDED,
    ]
    assert gateway.ledger.held_nanos("acme") == 0


async def test_the_failed_attempt_is_booked_before_the_next_is_asked_for(
    gateway: FakeGateway, client: headgate.Client
) -> None:
    await client.run("summarize", Provider(FIRST))

    assert [method for method, _ in gateway.rpcs] == [
        *("AdmitCall", "CompleteCall"),
        *("AdmitCall", "CompleteCall"),
    ]


async def test_a_third_attempt_names_the_first_one_and_excludes_both(
    gateway: FakeGateway, client: headgate.Client
) -> None:
    third = headgate.Candidate("mistral", "small")
    gateway.ledger.routes["summarize"] += ((third.provider, third.model),)
    provider = Provider(FIRST, SECOND)

    assert await client.run("summarize", provider) == "from mistral"
    last = provider.calls[-1]
    assert last.excluded == (FIRST, SECOND)
    assert gateway.ledger.entry(last.call_id).parent_call_id == provider.calls[0].call_id


async def test_when_no_candidate_is_left_there_is_the_fallback_text(
    gateway: FakeGateway, client: headgate.Client
) -> None:
    provider = Provider(FIRST, SECOND)

    with pytest.raises(headgate.AllCandidatesFailed) as caught:
        await client.run("summarize", provider)
    assert caught.value.failures == (provider.error, provider.error)
    assert caught.value.__cause__ is provider.error
    assert caught.value.fallback_text == gateway.ledger.fallback_text
    assert caught.value.denial is not None
    assert caught.value.denial.reason is headgate.DenialReason.NO_CANDIDATE
    assert gateway.ledger.held_nanos("acme") == 0


async def test_a_budget_that_ends_the_search_is_told(
    gateway: FakeGateway, client: headgate.Client
) -> None:
    provider = Provider(FIRST)

    async def body(call: headgate.Call) -> str:
        gateway.ledger.cap_nanos = 0
        return await provider(call)

    with pytest.raises(headgate.AllCandidatesFailed) as caught:
        await client.run("summarize", body, input_tokens=1)
    assert caught.value.denial is not None
    assert caught.value.denial.reason is headgate.DenialReason.BUDGET_EXCEEDED
    assert len(provider.calls) == 1


async def test_a_gateway_that_dies_between_attempts_costs_no_fallback_text(
    gateway: FakeGateway, client: headgate.Client
) -> None:
    gateway.faults.plant("admit")
    provider = Provider(FIRST)

    async def body(call: headgate.Call) -> str:
        gateway.faults.plant("admit", Failure(code=grpc.StatusCode.INTERNAL, reason="INTERNAL"))
        return await provider(call)

    with pytest.raises(headgate.AllCandidatesFailed) as caught:
        await client.run("summarize", body)
    assert [type(each) for each in caught.value.failures] == [
        ConnectionError,
        headgate.InternalError,
    ]
    assert caught.value.fallback_text == gateway.ledger.fallback_text
    assert caught.value.denial is None


async def test_what_no_other_candidate_would_survive_is_raised_at_once(
    gateway: FakeGateway, client: headgate.Client
) -> None:
    provider = Provider(FIRST, error=ValueError("a bug"))

    with pytest.raises(ValueError, match="a bug"):
        await client.run("summarize", provider)
    assert len(provider.calls) == 1
    assert gateway.count("AdmitCall") == 1


@pytest.mark.parametrize("on_denied", ["raise", "return"])
async def test_a_first_attempt_that_is_denied_is_raised_as_denied(
    gateway: FakeGateway, client: headgate.Client, on_denied: headgate.options.OnDenied
) -> None:
    gateway.ledger.killed = True
    provider = Provider()

    with pytest.raises(headgate.Denied) as caught:
        await client.call("summarize", on_denied=on_denied).run(provider)
    assert caught.value.decision.reason is headgate.DenialReason.FENCED
    assert provider.calls == []


async def test_a_first_attempt_that_nobody_decides_is_raised_as_it_is(
    gateway: FakeGateway, client: headgate.Client
) -> None:
    gateway.faults.plant("admit", Failure(code=grpc.StatusCode.INTERNAL, reason="INTERNAL"))

    with pytest.raises(headgate.InternalError):
        await client.run("summarize", Provider())


async def test_no_more_candidates_are_tried_than_a_call_can_exclude(
    gateway: FakeGateway, client: headgate.Client
) -> None:
    gateway.ledger.routes["summarize"] = tuple(("p", f"m{n}") for n in range(9))
    provider = Provider(*(headgate.Candidate("p", f"m{n}") for n in range(9)))

    with pytest.raises(headgate.AllCandidatesFailed) as caught:
        await client.run("summarize", provider)
    assert len(provider.calls) == 5
    assert caught.value.denial is None


async def test_what_a_caller_excludes_stays_excluded(
    gateway: FakeGateway, client: headgate.Client
) -> None:
    provider = Provider(SECOND)

    with pytest.raises(headgate.AllCandidatesFailed):
        await client.call("summarize", exclude=[FIRST]).run(provider)
    assert [call.candidate for call in provider.calls] == [SECOND]
    (entry,) = gateway.ledger.entries.values()
    assert entry.state == gateway_pb2.FINISHED_STATE_SETTLED


async def test_a_chain_that_a_caller_began_keeps_its_first_id(
    gateway: FakeGateway, client: headgate.Client
) -> None:
    first = "01890a5d-ac96-774b-bcce-b302099a8057"
    provider = Provider(FIRST)
    await client.call("summarize", parent_call_id=first).run(provider)

    parents = [gateway.ledger.entry(call.call_id).parent_call_id for call in provider.calls]
    assert parents == [first, first]
