"""What becomes of a request on its way to a provider, and of the answer on its way back."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import pytest

import headgate
from headgate.api.common.v1 import call_pb2
from headgate.api.gateway.v1 import gateway_pb2
from headgate.testing import API_KEY, FakeGateway
from tests.integration.transports.line import BODY, OPENAI, Line, asked, whole

MakeLine = Callable[..., Line]
# Of what is let through before anything was admitted.
UNDECIDED_BOUND = 4096
ONE = headgate.Provider(base_url="https://one.test/v1")
TWO = headgate.Provider(
    base_url="https://two.test/v1/", api_key="key-of-two", headers={"x-more": "1"}
)


@pytest.fixture
async def client(gateway: FakeGateway) -> AsyncIterator[headgate.Client]:
    gateway.ledger.routes = {"chat": (("openai", "gpt"),)}
    async with headgate.Client(gateway.target, api_key=API_KEY) as made:
        yield made


@pytest.fixture
async def make_line(client: headgate.Client) -> AsyncIterator[MakeLine]:
    made: list[Line] = []

    def make(respond: Any = whole, **options: Any) -> Line:
        made.append(Line(options.pop("client", client), respond, **options))
        return made[-1]

    yield make
    for each in made:
        await each.http.aclose()


def sent(line: Line) -> dict[str, Any]:
    (request,) = line.requests
    body: dict[str, Any] = json.loads(request.content)
    return body


async def test_another_provider_gets_its_own_credentials_and_nobody_elses(
    gateway: FakeGateway, make_line: MakeLine
) -> None:
    gateway.ledger.routes = {"chat": (("two", "m2"),)}
    line = make_line(providers={"one": ONE, "two": TWO})
    secrets = {"authorization": "Bearer key-of-one", "x-api-key": "key", "cookie": "a=b"}
    await line.ask(
        "https://one.test/v1/chat/completions?beta=1",
        headers={**secrets, "openai-organization": "org-1", "x-stays": "yes"},
    )
    (request,) = line.requests

    assert str(request.url) == "https://two.test/v1/chat/completions?beta=1"
    assert request.headers["host"] == "two.test"
    assert request.headers["authorization"] == "Bearer key-of-two"
    assert request.headers["x-more"] == "1"
    assert request.headers["x-stays"] == "yes"
    assert not {"x-api-key", "cookie", "openai-organization"} & set(request.headers)
    assert sent(line)["model"] == "m2"


async def test_its_own_provider_gets_the_requests_credentials(make_line: MakeLine) -> None:
    line = make_line()
    await line.ask(headers={"authorization": "Bearer mine"})

    assert line.requests[0].headers["authorization"] == "Bearer mine"
    assert str(line.requests[0].url) == OPENAI


async def test_candidates_that_can_not_be_asked_are_passed_over_and_cost_nothing(
    gateway: FakeGateway, make_line: MakeLine
) -> None:
    gateway.ledger.routes = {"chat": (("anthropic", "claude"), ("openai", "gpt"))}
    line = make_line()
    answer = await line.ask()
    first, second = gateway.ledger.entries.values()

    assert first.state == gateway_pb2.FINISHED_STATE_RELEASED
    assert second.state == gateway_pb2.FINISHED_STATE_SETTLED
    assert answer.headers["x-headgate-provider"] == "openai"
    assert answer.headers["x-headgate-call-id"] == second.call_id


async def test_if_no_candidate_can_be_asked_the_error_says_so(
    gateway: FakeGateway, make_line: MakeLine
) -> None:
    gateway.ledger.routes = {"chat": (("anthropic", "claude"), ("google", "gemini"))}
    answer = await make_line().ask()

    with pytest.raises(headgate.NotServed, match="providers"):
        answer.raise_for_status()
    assert gateway.ledger.held_nanos("acme") == 0


async def test_behind_an_address_that_nobody_knows_all_candidates_are_asked(
    gateway: FakeGateway, make_line: MakeLine
) -> None:
    gateway.ledger.routes = {"chat": (("anything", "m"),)}
    line = make_line()
    await line.ask("https://proxy.test/chat/completions")

    assert str(line.requests[0].url) == "https://proxy.test/chat/completions"


async def test_only_the_requests_own_model_is_asked_if_it_must_not_be_replaced(
    gateway: FakeGateway, make_line: MakeLine
) -> None:
    gateway.ledger.routes = {"chat": (("openai", "gpt"), ("openai", "own"))}
    line = make_line(rewrite_model=False)
    await line.ask()

    assert sent(line)["model"] == "own"


@pytest.mark.parametrize(
    ("body", "bound", "choices"),
    [
        ({}, 256, 256),
        ({"max_completion_tokens": 50}, 50, 50),
        ({"max_tokens": 40, "n": 3}, 120, None),
        ({"n": 2}, 256, 128),
    ],
)
async def test_what_is_admitted_is_what_the_provider_is_bound_to(
    gateway: FakeGateway,
    make_line: MakeLine,
    body: dict[str, Any],
    bound: int,
    choices: int | None,
) -> None:
    line = make_line()
    await line.ask(**body)
    (entry,) = gateway.ledger.entries.values()

    assert entry.admission is not None
    assert entry.admission.max_output_token_count == bound
    assert sent(line).get("max_completion_tokens") == choices


async def test_the_hold_bounds_the_bytes_of_what_is_sent(
    gateway: FakeGateway, make_line: MakeLine
) -> None:
    await make_line().ask(messages=[{"role": "user", "content": "水" * 1000}])

    assert 3000 <= asked(gateway)[0].input_token_count < 3300


async def test_terms_can_be_changed_for_some_calls(
    gateway: FakeGateway, make_line: MakeLine
) -> None:
    gateway.ledger.routes["agent"] = (("openai", "gpt"),)
    line = make_line(feature="search", labels={"team": "a"})
    with (
        headgate.governing("agent", labels={"ticket": "T-1"}, user="u1"),
        headgate.governing(input_tokens=7, labels={"step": "2"}),
    ):
        await line.ask()
    await line.ask()
    inside, outside = asked(gateway)

    assert (inside.operation, inside.user, inside.feature) == ("agent", "u1", "search")
    assert dict(inside.labels) == {"team": "a", "ticket": "T-1", "step": "2"}
    assert inside.input_token_count == 7
    assert (outside.operation, outside.user) == ("chat", "")


@pytest.mark.parametrize("path", ["batches", "fine_tuning/jobs", "videos", "assistants"])
async def test_what_can_not_be_governed_and_may_cost_is_refused_unless_it_may_pass(
    gateway: FakeGateway, make_line: MakeLine, path: str
) -> None:
    closed, opened = make_line(), make_line(on_unknown="pass")
    url = f"https://api.openai.com/v1/{path}"
    refused = await closed.ask(url)

    with pytest.raises(headgate.CallMisused, match="on_unknown"):
        refused.raise_for_status()
    assert closed.requests == []
    assert (await opened.ask(url)).status_code == 200
    assert gateway.rpcs == []


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "models"), ("DELETE", "files/f"), ("POST", "files"), ("POST", "moderations")],
)
async def test_what_costs_nothing_passes_as_it_is(
    gateway: FakeGateway, make_line: MakeLine, method: str, path: str
) -> None:
    line = make_line()
    await line.http.request(method, f"https://api.openai.com/v1/{path}", content=b"as it is")

    assert line.requests[0].content == b"as it is"
    assert "x-headgate-call-id" not in line.requests[0].headers
    assert gateway.rpcs == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
async def test_a_request_that_can_not_be_understood_is_refused(
    make_line: MakeLine, content: bytes
) -> None:
    line = make_line()
    answer = await line.http.post(OPENAI, content=content)

    with pytest.raises(headgate.CallMisused, match="govern"):
        answer.json()
    assert line.requests == []


async def test_a_compressed_answer_is_decoded_once(
    gateway: FakeGateway, make_line: MakeLine
) -> None:
    packed = gzip.compress(json.dumps({"usage": {"prompt_tokens": 3}}).encode())
    headers = {"content-encoding": "gzip", "content-type": "application/json"}
    answer = await make_line(lambda _: httpx2.Response(200, headers=headers, content=packed)).ask()
    (entry,) = gateway.ledger.entries.values()

    assert answer.json() == {"usage": {"prompt_tokens": 3}}
    assert entry.report is not None
    assert entry.report.meters.input_token_count == 3


async def test_the_tier_of_service_is_reported(gateway: FakeGateway, make_line: MakeLine) -> None:
    answer = {"service_tier": "flex", "usage": {"prompt_tokens": 3}}
    await make_line(lambda _: httpx2.Response(200, json=answer)).ask()
    (entry,) = gateway.ledger.entries.values()

    assert entry.report is not None
    assert entry.report.service_tier == "flex"


async def test_a_redirection_is_a_call_of_its_own(
    gateway: FakeGateway, make_line: MakeLine
) -> None:
    def respond(request: httpx2.Request) -> httpx2.Response:
        if request.url.path.startswith("/v1"):
            return httpx2.Response(307, headers={"location": "/v2/chat/completions"})
        return whole(request)

    line = make_line(respond)
    await line.ask()
    outcomes = [each.report.outcome for each in gateway.ledger.entries.values() if each.report]

    assert outcomes == [call_pb2.CALL_OUTCOME_REJECTED, call_pb2.CALL_OUTCOME_SUCCEEDED]


async def test_if_nobody_decides_the_request_is_denied_or_passes_bounded(
    gateway: FakeGateway, make_line: MakeLine
) -> None:
    options: dict[str, Any] = {"api_key": API_KEY, "admission_timeout_seconds": 0.2}
    async with (
        headgate.Client("127.0.0.1:1", **options) as strict,
        headgate.Client("127.0.0.1:1", on_unreachable="allow", **options) as lenient,
    ):
        denied = await make_line(client=strict).ask()
        line = make_line(client=lenient)
        await line.ask()

    with pytest.raises(headgate.Denied) as raised:
        denied.raise_for_status()
    assert raised.value.decision.reason is headgate.DenialReason.UNREACHABLE
    assert sent(line) == {**BODY, "max_completion_tokens": UNDECIDED_BOUND}


async def test_in_the_mode_off_everything_passes_bounded(
    make_line: MakeLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADGATE_MODE", "off")
    async with headgate.Client() as nobody:
        line = make_line(client=nobody)
        await line.ask()

    assert sent(line) == {**BODY, "max_completion_tokens": UNDECIDED_BOUND}
