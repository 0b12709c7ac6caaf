"""Identical calls at once cost one, over two gateways, whoever fails or dies."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

import headgate
from headgate import sharing
from headgate.api.common.v1 import call_pb2
from headgate.api.gateway.v1 import admin_pb2
from headgate.api.gateway.v1 import gateway_pb2 as pb
from tests.integration.gateway.system import ACME_KEY, GLOBEX_KEY, System, new_id, refusal
from tests.integration.gateway.test_audit_crashes import start_gateway
from tests.integration.headgate.real import running_system

CANDIDATE = call_pb2.Candidate(provider="openai", model="gpt-4o-mini")
COST_NANOS = 900 * 150 + 50 * 600
PAYLOAD = {"messages": [{"role": "user", "content": "Why?"}], "model": "own"}


@pytest.fixture
async def system(postgres_url: str, pytestconfig: pytest.Config) -> AsyncIterator[System]:
    async with running_system(postgres_url, pytestconfig) as running:
        await running.start("second")
        route = admin_pb2.Route(operation="digest", candidates=[CANDIDATE], coalesces=True)
        await running.staff().PutRoute(admin_pb2.PutRouteRequest(route=route))
        yield running


@pytest.fixture
async def clients(system: System) -> AsyncIterator[list[headgate.Client]]:
    """Of one org, at two gateways."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(
                headgate.Client(system.addresses[name], api_key=ACME_KEY)
            )
            for name in ("gateway", "second")
        ]


class Provider:
    """Answers when the test says so, and knows how often it was asked."""

    def __init__(self) -> None:
        self.count = 0
        self.go = asyncio.Event()
        self.failures = 0

    async def ask(self, call: headgate.Call) -> bytes:
        self.count += 1
        number = self.count
        await self.go.wait()
        if number <= self.failures:
            raise ValueError("the caller's own error")
        call.report(input_tokens=900, output_tokens=50)
        return b"So, %d." % number


def share(client: Any, provider: Provider, **options: Any) -> asyncio.Task[bytes]:
    if "key" not in options:
        options.setdefault("payload", PAYLOAD)
    return asyncio.create_task(client.share("digest", provider.ask, **options))


class Followers:
    """Counts those who know whom they follow."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self._more = asyncio.Event()
        follow = sharing._Party.follow

        async def counted(party: sharing._Party, leader: str) -> bytes | None:
            self.count += 1
            self._more.set()
            return await follow(party, leader)

        patch.setattr(sharing._Party, "follow", counted)

    async def until(self, count: int) -> None:
        async with asyncio.timeout(20):
            while self.count < count:
                self._more.clear()
                await self._more.wait()


@pytest.fixture
def followers(monkeypatch: pytest.MonkeyPatch) -> Followers:
    return Followers(monkeypatch)


async def until_asked(provider: Provider, count: int) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(20):
            while provider.count < count:  # noqa: ASYNC110 - the provider is a plain function
                await asyncio.sleep(0.01)
    assert provider.count >= count


async def booked(system: System, count: int) -> list[Any]:
    """Cost and what was saved of each call, when so many are booked."""
    async with asyncio.timeout(20):
        while True:
            rows = await system.fetch(
                "accounting",
                "SELECT total_nanos, baseline_nanos - total_nanos AS saved FROM usage_log"
                " WHERE operation = 'digest' ORDER BY total_nanos DESC",
            )
            if len(rows) >= count:
                return [tuple(row) for row in rows]
            await asyncio.sleep(0.05)


async def test_ten_at_once_cost_one_over_two_gateways(
    system: System, clients: list[headgate.Client], followers: Followers
) -> None:
    provider = Provider()
    asked = [share(clients[at % 2], provider) for at in range(10)]
    await followers.until(9)
    provider.go.set()
    answers = await asyncio.gather(*asked)

    assert set(answers) == {b"So, 1."}
    assert provider.count == 1
    assert await booked(system, 10) == [(COST_NANOS, None), *[(0, COST_NANOS)] * 9]
    # What has ended is nobody's any more: the next one is made again.
    assert await share(clients[0], provider) == b"So, 2."


async def test_only_identical_calls_of_one_org_and_session_share(
    system: System, clients: list[headgate.Client], followers: Followers
) -> None:
    provider = Provider()
    async with headgate.Client(system.addresses["gateway"], api_key=GLOBEX_KEY) as other:
        ada, bob = (clients[0].for_user(name, session=name) for name in ("ada", "bob"))
        alone = [
            share(clients[0], provider),
            share(other, provider),
            share(ada, provider),
            share(bob, provider),
            share(ada, provider, payload={**PAYLOAD, "model": "another"}),
            share(ada, provider, key="k"),
        ]
        await until_asked(provider, 6)
        together = [share(each, provider, across_sessions=True) for each in (ada, bob)]
        await followers.until(1)
        provider.go.set()
        answers = await asyncio.gather(*alone, *together)

    assert provider.count == 7
    assert len(set(answers)) == 7
    assert answers[-1] == answers[-2]


async def test_calls_of_a_route_that_does_not_allow_it_are_made_each(
    clients: list[headgate.Client],
) -> None:
    provider = Provider()
    provider.go.set()
    answers = await asyncio.gather(
        *(clients[0].share("summarize", provider.ask, payload=PAYLOAD) for _ in range(3))
    )

    assert provider.count == len(set(answers)) == 3


@pytest.mark.parametrize("how", ["fails", "is cancelled"])
async def test_a_leader_that_ends_without_an_answer_hands_over(
    clients: list[headgate.Client], followers: Followers, how: str
) -> None:
    provider = Provider()
    provider.failures = 1 if how == "fails" else 0
    first = share(clients[0], provider)
    await until_asked(provider, 1)
    others = [share(clients[at % 2], provider) for at in range(4)]
    await followers.until(4)
    if how == "is cancelled":
        first.cancel()
        await until_asked(provider, 2)
    provider.go.set()
    left = await asyncio.gather(first, return_exceptions=True)
    answers = await asyncio.gather(*others)

    assert isinstance(left[0], ValueError if how == "fails" else asyncio.CancelledError)
    assert set(answers) == {b"So, 2."}
    assert provider.count == 2


async def test_a_leader_that_dies_hands_over_when_its_lease_ends(
    system: System, clients: list[headgate.Client], followers: Followers
) -> None:
    call = pb.SharedCall(operation="digest", key=sharing.digest(PAYLOAD))
    # Who leads, and is never heard of again.
    joined = await system.backend().JoinCall(pb.JoinCallRequest(call=call, call_id=new_id()))
    provider = Provider()
    provider.go.set()
    org = {"org": "acme"}
    answers = await asyncio.gather(*(share(clients[at % 2], provider, **org) for at in range(4)))

    assert joined.role == pb.CALL_ROLE_LEAD
    assert followers.count >= 4
    assert len(set(answers)) == provider.count == 1


async def test_a_slow_leader_goes_on_leading(
    clients: list[headgate.Client], followers: Followers
) -> None:
    provider = Provider()
    asked = [share(clients[0], provider), share(clients[1], provider)]
    await followers.until(1)
    # Longer than a lease.
    await asyncio.sleep(4)
    provider.go.set()

    assert set(await asyncio.gather(*asked)) == {b"So, 1."}


async def test_bad_input_names_the_field(system: System) -> None:
    backend, call = system.backend(), pb.SharedCall(operation="digest", key="k")
    one, other = new_id(), new_id()
    candidate = call_pb2.Candidate(provider="p", model="m")
    long = pb.SharedCall(operation="Digest!", key="k" * 257, session="s" * 129)
    wrong = [
        (backend.JoinCall(pb.JoinCallRequest(call=call, call_id="x")), ("call_id",)),
        (
            backend.JoinCall(pb.JoinCallRequest(call=long, call_id=one)),
            ("call.operation", "call.key", "call.session"),
        ),
        (
            backend.AwaitAnswer(pb.AwaitAnswerRequest(call=call, call_id=one, leader_call_id=one)),
            ("leader_call_id",),
        ),
        (
            backend.ShareAnswer(pb.ShareAnswerRequest(call=call, call_id=one, answer=b"")),
            ("candidate.provider", "candidate.model"),
        ),
        (
            backend.ShareAnswer(
                pb.ShareAnswerRequest(
                    call=call, call_id=one, answer=bytes(2**20 + 1), candidate=candidate
                )
            ),
            ("answer",),
        ),
        (
            backend.ShareAnswer(pb.ShareAnswerRequest(call=call, call_id=one, cost_nanos=-1)),
            ("cost_nanos",),
        ),
    ]
    for asked, fields in wrong:
        assert (await refusal(asked)).fields == fields
    foreign = pb.SharedCall(org="globex", operation="digest", key="k")
    refused = await refusal(backend.JoinCall(pb.JoinCallRequest(call=foreign, call_id=one)))
    assert refused.reason == "ORG_NOT_FOUND"
    # Who never led shares nothing, and nobody waits for what is not there.
    share_it = pb.ShareAnswerRequest(call=call, call_id=one, answer=b"a", candidate=candidate)
    assert not (await backend.ShareAnswer(share_it)).shared
    wait = pb.AwaitAnswerRequest(call=call, call_id=one, leader_call_id=other)
    assert (await backend.AwaitAnswer(wait)).state == pb.ANSWER_STATE_LOST
    assert await system.fetch("gateway", "SELECT * FROM flight") == []


async def test_a_gateway_that_is_killed_costs_no_answer(
    system: System, clients: list[headgate.Client], followers: Followers
) -> None:
    process = await start_gateway(system)
    provider = Provider()
    both = f"ipv4:{system.addresses['doomed']},{system.addresses['gateway']}"
    async with headgate.Client(both, api_key=ACME_KEY) as caller:
        asked = [share(caller if at % 2 else clients[0], provider) for at in range(6)]
        await followers.until(5)
        process.kill()
        await process.wait()
        provider.go.set()
        answers = await asyncio.gather(*asked)

    assert set(answers) == {b"So, 1."}
    assert provider.count == 1
