"""Each way out of a call's block, and what the gateway hears of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator
from typing import Any

import httpx2
import pytest

import headgate
from headgate import CallOutcome, CostBasis
from headgate.api.common.v1 import call_pb2
from headgate.api.gateway.v1 import gateway_pb2
from headgate.testing import INPUT_NANOS, OUTPUT_NANOS, FakeGateway

HELD = 100 * INPUT_NANOS + 50 * OUTPUT_NANOS


def make_call(client: headgate.Client) -> headgate.Call:
    return client.call("summarize", input_tokens=100, max_output_tokens=50)


def reported(gateway: FakeGateway, call: headgate.Call) -> gateway_pb2.CompleteCallRequest:
    """The one report of a call whose hold is gone."""
    entry = gateway.ledger.entry(call.call_id)
    assert entry.state == gateway_pb2.FINISHED_STATE_SETTLED
    assert entry.report is not None
    return entry.report


async def end_with(call: headgate.Call, error: BaseException, **meters: int) -> None:
    async with call:
        call.report(**meters)
        raise error


async def test_a_block_that_ends_reports_success_with_its_meters(
    gateway: FakeGateway, client: headgate.Client
) -> None:
    async with make_call(client) as call:
        assert call.admitted
        assert (call.provider, call.model) == ("openai", "gpt-4o-mini")
        assert call.candidate == headgate.Candidate("openai", "gpt-4o-mini")
        assert call.max_output_tokens == 50
        assert gateway.ledger.held_nanos("acme") == HELD
        call.report(input_tokens=90, output_tokens=20, reasoning_tokens=5)

    report = reported(gateway, call)
    assert report.outcome == call_pb2.CALL_OUTCOME_SUCCEEDED
    assert report.error_type == ""
    assert report.HasField("latency")
    assert call.receipt == headgate.Receipt(
        call_id=call.call_id,
        total_nanos=90 * INPUT_NANOS + 25 * OUTPUT_NANOS,
        cost_basis=CostBasis.METERS,
        replayed=False,
    )
    assert call.completion_error is None
    assert gateway.ledger.held_nanos("acme") == 0


async def test_a_block_that_ends_without_usage_is_charged_at_its_hold(
    gateway: FakeGateway, client: headgate.Client
) -> None:
    async with make_call(client) as call:
        pass

    assert not reported(gateway, call).HasField("meters")
    assert call.receipt is not None
    assert (call.receipt.total_nanos, call.receipt.cost_basis) == (HELD, CostBasis.HOLD)


async def test_return_reports(gateway: FakeGateway, client: headgate.Client) -> None:
    async def body(call: headgate.Call) -> str:
        async with call:
            call.report(output_tokens=1)
            return "answer"

    call = make_call(client)

    assert await body(call) == "answer"
    assert reported(gateway, call).meters.output_token_count == 1


async def test_break_and_continue_report(gateway: FakeGateway, client: headgate.Client) -> None:
    calls = []
    for number in range(2):
        async with make_call(client) as call:
            calls.append(call)
            if number == 0:
                continue
            break

    assert [reported(gateway, call).outcome for call in calls] == [
        call_pb2.CALL_OUTCOME_SUCCEEDED,
        call_pb2.CALL_OUTCOME_SUCCEEDED,
    ]


@pytest.mark.parametrize(
    ("error", "outcome", "kind"),
    [
        (httpx2.ReadTimeout("slow"), call_pb2.CALL_OUTCOME_PROVIDER_FAILED, "ReadTimeout"),
        (httpx2.ConnectError("refused"), call_pb2.CALL_OUTCOME_PROVIDER_FAILED, "ConnectError"),
        (TimeoutError(), call_pb2.CALL_OUTCOME_PROVIDER_FAILED, "TimeoutError"),
        (ValueError("a bug"), call_pb2.CALL_OUTCOME_ABORTED, "ValueError"),
        (KeyboardInterrupt(), call_pb2.CALL_OUTCOME_ABORTED, "KeyboardInterrupt"),
    ],
    ids=lambda each: type(each).__name__,
)
async def test_an_exception_is_classified_reported_and_raised(
    gateway: FakeGateway,
    client: headgate.Client,
    error: BaseException,
    outcome: call_pb2.CallOutcome.ValueType,
    kind: str,
) -> None:
    call = make_call(client)
    with pytest.raises(type(error)) as caught:
        await end_with(call, error)

    assert caught.value is error
    report = reported(gateway, call)
    assert (report.outcome, report.error_type) == (outcome, kind)


async def test_a_provider_that_did_not_answer_in_time_may_bill_all_that_was_held(
    gateway: FakeGateway, client: headgate.Client
) -> None:
    call = make_call(client)
    with pytest.raises(TimeoutError):
        await end_with(call, TimeoutError())

    assert call.receipt is not None
    assert call.receipt.cost_basis is headgate.CostBasis.HOLD
    assert call.receipt.total_nanos > 0


async def test_a_provider_that_failed_costs_nothing(
    gateway: FakeGateway, client: headgate.Client
) -> None:
    call = make_call(client)
    with pytest.raises(ConnectionError):
        await end_with(call, ConnectionError())

    assert call.receipt is not None
    assert (call.receipt.total_nanos, call.receipt.cost_basis) == (0, CostBasis.NONE)


async def test_a_failure_told_outranks_what_is_raised(
    gateway: FakeGateway, client: headgate.Client
) -> None:
    call = make_call(client)

    async def body() -> None:
        async with call:
            call.fail(CallOutcome.THROTTLED, error_type="x" * 100)
            raise ValueError("bad JSON")

    with pytest.raises(ValueError, match="bad JSON"):
        await body()
    report = reported(gateway, call)
    assert (report.outcome, report.error_type) == (call_pb2.CALL_OUTCOME_THROTTLED, "x" * 64)
    assert call.survivable


async def test_usage_seen_before_a_failure_is_charged(
    gateway: FakeGateway, client: headgate.Client
) -> None:
    call = make_call(client)
    with pytest.raises(ConnectionError):
        await end_with(call, ConnectionError(), input_tokens=100, output_tokens=7)

    assert call.receipt is not None
    assert call.receipt.total_nanos == 100 * INPUT_NANOS + 7 * OUTPUT_NANOS


async def test_not_sent_returns_the_hold(gateway: FakeGateway, client: headgate.Client) -> None:
    call = make_call(client)
    with pytest.raises(headgate.NotSent):
        await end_with(call, headgate.NotSent("nothing to summarize"))

    entry = gateway.ledger.entry(call.call_id)
    assert (entry.state, entry.settled_nanos) == (gateway_pb2.FINISHED_STATE_RELEASED, 0)
    assert gateway.count("CompleteCall") == 0


async def test_release_returns_the_hold(gateway: FakeGateway, client: headgate.Client) -> None:
    async with make_call(client) as call:
        call.release()
        with pytest.raises(headgate.CallMisused, match="released"):
            call.report(output_tokens=1)

    entry = gateway.ledger.entry(call.call_id)
    assert entry.state == gateway_pb2.FINISHED_STATE_RELEASED
    assert call.receipt is None


async def test_a_call_that_used_something_is_never_released(
    gateway: FakeGateway, client: headgate.Client
) -> None:
    call = make_call(client)

    async def body() -> None:
        async with call:
            call.report(output_tokens=1)
            with pytest.raises(headgate.CallMisused, match="can't be released"):
                call.release()
            raise headgate.NotSent

    with pytest.raises(headgate.NotSent):
        await body()
    assert reported(gateway, call).outcome == call_pb2.CALL_OUTCOME_ABORTED


async def test_nested_calls_end_each_by_itself(
    gateway: FakeGateway, client: headgate.Client
) -> None:
    outer, inner = make_call(client), make_call(client)

    async def body() -> None:
        async with outer:
            async with inner:
                inner.report(output_tokens=1)
            outer.report(output_tokens=2)
            raise TimeoutError

    with pytest.raises(TimeoutError):
        await body()
    assert reported(gateway, inner).outcome == call_pb2.CALL_OUTCOME_SUCCEEDED
    assert reported(gateway, outer).outcome == call_pb2.CALL_OUTCOME_PROVIDER_FAILED
    assert inner.call_id != outer.call_id


async def test_a_stream_that_is_closed_early_is_charged_at_what_it_gave(
    gateway: FakeGateway, client: headgate.Client
) -> None:
    call = make_call(client)

    async def stream() -> AsyncIterator[int]:
        async with call:
            for count in range(1, 50):
                call.report(input_tokens=100, output_tokens=count)
                yield count

    chunks = stream()
    assert [await anext(chunks) for _ in range(3)] == [1, 2, 3]
    await chunks.aclose()  # type: ignore[attr-defined]
    await gateway.wait_for_end(call.call_id)

    report = reported(gateway, call)
    assert (report.outcome, report.error_type) == (call_pb2.CALL_OUTCOME_ABORTED, "GeneratorExit")
    assert report.meters.output_token_count == 3


async def test_a_coroutine_that_is_closed_by_hand_still_reports(
    gateway: FakeGateway, client: headgate.Client
) -> None:
    call = make_call(client)

    class Entered:
        async def __aenter__(self) -> None: ...

        async def __aexit__(self, *raised: Any) -> bool:
            return await call.__aexit__(*raised)

    async def body() -> None:
        async with Entered():
            await Suspended()

    await call.__aenter__()
    coroutine = body()
    assert isinstance(coroutine.send(None), Suspended)
    coroutine.close()
    await gateway.wait_for_end(call.call_id)

    assert reported(gateway, call).outcome == call_pb2.CALL_OUTCOME_ABORTED


class Suspended:
    """Awaiting it yields itself to whoever drives the coroutine."""

    def __await__(self) -> Generator[object]:
        yield self
