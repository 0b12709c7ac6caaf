"""Off and fake modes by one variable, and what else comes from the environment."""

from __future__ import annotations

import pytest

import headgate
from headgate.testing import API_KEY, FakeGateway, serve_gateway
from headgate.testing.process import installed, make_permissive


async def test_off_asks_nobody_and_lets_every_call_through(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HEADGATE_MODE", "off")
    candidate = headgate.Candidate("openai", "gpt-4o")
    # Nobody listens there.
    async with headgate.Client("127.0.0.1:1") as client:
        async with client.call("summarize", default_candidate=candidate) as call:
            assert (call.candidate, call.governed) == (candidate, False)
            call.report(output_tokens=1)
        async with client.call("summarize", max_output_tokens=7) as second:
            second.release()

        assert (second.model, second.max_output_tokens) == ("", 7)
        assert client.incidents == {}
    assert (call.receipt, call.completion_error) == (None, None)


async def test_fake_needs_no_gateway_no_key_and_no_route(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HEADGATE_MODE", " Fake ")
    with installed(make_permissive()) as fake:
        async with headgate.Client() as client, client.call("any", org="globex") as call:
            call.report(output_tokens=1)

    assert call.governed
    assert fake.ledger.settled_nanos("globex") == 4_000


def test_an_unknown_mode_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADGATE_MODE", "offf")
    with pytest.raises(ValueError, match="HEADGATE_MODE is 'offf'; it must be one of on, off"):
        headgate.Client("127.0.0.1:1", api_key=API_KEY)


async def test_target_and_key_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HEADGATE_MODE", raising=False)
    monkeypatch.delenv("HEADGATE_API_KEY", raising=False)
    with pytest.raises(ValueError, match="no API key: pass api_key, or set HEADGATE_API_KEY"):
        headgate.Client()
    async with serve_gateway(FakeGateway()) as fake:
        monkeypatch.setenv("HEADGATE_TARGET", fake.target)
        monkeypatch.setenv("HEADGATE_API_KEY", API_KEY)
        async with headgate.Client() as client:
            assert (await client.status()).state is headgate.ServiceState.HEALTHY
