"""The README's example does what the README says of it, on its way through real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

import headgate
from examples.governed_call import main, summarize
from headgate.api.common.v1 import call_pb2
from headgate.api.gateway.v1 import gateway_pb2
from headgate.testing import API_KEY, FakeGateway, serve_gateway
from local.demo import stand_in
from local.demo.stand_in import StandInProcess

CANDIDATES = (("demo-openai", "gpt-4o-mini"), ("demo-anthropic", "claude-haiku"))
TEXT = "A headgate decides how much water enters the canal."


@pytest.fixture
async def gateway() -> AsyncIterator[FakeGateway]:
    async with serve_gateway() as fake:
        fake.ledger.routes = {"summarize": CANDIDATES}
        yield fake


@pytest.fixture
async def client(gateway: FakeGateway) -> AsyncIterator[headgate.Client]:
    async with headgate.Client(gateway.target, api_key=API_KEY) as made:
        yield made


@pytest.fixture
async def providers(tmp_path: Path) -> AsyncIterator[StandInProcess]:
    async with stand_in.running(tmp_path / "bill.jsonl", speed=100) as process:
        yield process


@pytest.fixture
async def http(providers: StandInProcess) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=providers.url) as made:
        yield made


async def test_a_call_is_admitted_answered_and_reported_meter_by_meter(
    gateway: FakeGateway, client: headgate.Client, http: httpx2.AsyncClient
) -> None:
    answer = await summarize(client, http, TEXT)

    (entry,) = gateway.ledger.entries.values()
    assert entry.report is not None
    assert answer.startswith("word")
    assert entry.state == gateway_pb2.FINISHED_STATE_SETTLED
    assert entry.report.outcome == call_pb2.CALL_OUTCOME_SUCCEEDED
    assert entry.report.meters.output_token_count >= len(answer.split())


async def test_an_outage_of_the_first_provider_is_survived_by_the_second(
    gateway: FakeGateway,
    client: headgate.Client,
    http: httpx2.AsyncClient,
    providers: StandInProcess,
) -> None:
    await providers.set_outage("demo-openai", seconds=60)

    answer = await summarize(client, http, TEXT)

    outcomes = [each.report.outcome for each in gateway.ledger.entries.values() if each.report]
    assert answer.startswith("word")
    assert outcomes == [call_pb2.CALL_OUTCOME_PROVIDER_FAILED, call_pb2.CALL_OUTCOME_SUCCEEDED]


async def test_when_every_provider_is_out_the_fallback_text_is_the_answer(
    gateway: FakeGateway,
    client: headgate.Client,
    http: httpx2.AsyncClient,
    providers: StandInProcess,
) -> None:
    for provider, _ in CANDIDATES:
        await providers.set_outage(provider, seconds=60)

    assert await summarize(client, http, TEXT) == gateway.ledger.fallback_text
    assert gateway.ledger.held_nanos("acme") == 0


async def test_a_denied_call_never_reaches_a_provider(
    gateway: FakeGateway,
    client: headgate.Client,
    http: httpx2.AsyncClient,
    providers: StandInProcess,
) -> None:
    gateway.ledger.killed = True

    assert await summarize(client, http, TEXT) == gateway.ledger.fallback_text
    assert providers.bill_path.read_text() == ""


async def test_the_program_takes_its_addresses_and_its_key_from_the_environment(
    gateway: FakeGateway,
    providers: StandInProcess,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HEADGATE_TARGET", gateway.target)
    monkeypatch.setenv("HEADGATE_API_KEY", API_KEY)
    monkeypatch.setenv("PROVIDERS_URL", providers.url)

    await main(TEXT)

    assert capsys.readouterr().out.startswith("word")
