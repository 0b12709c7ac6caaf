"""Calls that start or end together share an RPC, and each is answered by itself."""

from __future__ import annotations

import asyncio

import headgate
from headgate.testing import OUTPUT_NANOS, FakeGateway

COUNT = 500


async def test_a_call_alone_is_not_delayed_by_a_batch(
    gateway: FakeGateway, client: headgate.Client
) -> None:
    async with client.call("summarize") as call:
        call.report(output_tokens=1)

    assert gateway.rpcs == [("AdmitCall", 1), ("CompleteCall", 1)]


async def test_concurrent_calls_share_rpcs(gateway: FakeGateway, client: headgate.Client) -> None:
    async def run(tokens: int) -> headgate.Receipt | None:
        async with client.call("summarize", max_output_tokens=tokens) as call:
            assert call.max_output_tokens == tokens
            call.report(output_tokens=tokens)
        return call.receipt

    receipts = await asyncio.gather(*(run(tokens) for tokens in range(COUNT)))

    assert [each.total_nanos for each in receipts if each is not None] == [
        tokens * OUTPUT_NANOS for tokens in range(COUNT)
    ]
    for kind in ("Admit", "Complete"):
        sizes = [size for method, size in gateway.rpcs if method.startswith(kind)]
        assert sum(sizes) == COUNT
        assert len(sizes) <= COUNT / 10
        assert max(sizes) <= 256


async def test_a_bad_member_fails_alone(gateway: FakeGateway, client: headgate.Client) -> None:
    gateway.ledger.cap_nanos = 100 * OUTPUT_NANOS
    calls = [
        client.call("summarize", max_output_tokens=1),
        client.call("nonsense"),
        client.call("summarize", call_id="no UUID"),
        client.call("summarize", org="globex"),
        client.call("summarize", max_output_tokens=1_000),
        client.call("summarize", max_output_tokens=1, on_denied="return"),
    ]
    entering = (each.__aenter__() for each in calls)
    answers = await asyncio.gather(*entering, return_exceptions=True)
    entered = [calls[0], calls[5]]
    await asyncio.gather(*(each.__aexit__(None, None, None) for each in entered))

    assert gateway.rpcs[0] == ("AdmitCalls", len(calls))
    assert [type(each) for each in answers] == [
        headgate.Call,
        headgate.NotFound,
        headgate.InvalidArgument,
        headgate.NotFound,
        headgate.Denied,
        headgate.Call,
    ]
    assert isinstance(answers[2], headgate.InvalidArgument)
    assert [each.field for each in answers[2].violations] == ["call_id"]
    assert gateway.ledger.held_nanos("acme") == 0
