"""Sessions of users: words of their own, nothing else shared than the connection."""

from __future__ import annotations

import asyncio

import pytest

import headgate
from headgate.api.common.v1 import limit_pb2
from headgate.api.gateway.v1 import gateway_pb2
from headgate.testing import FakeGateway


def asked(fake: FakeGateway, call: headgate.Call) -> gateway_pb2.AdmitCallRequest:
    return gateway_pb2.AdmitCallRequest.FromString(fake.ledger.entry(call.call_id).fingerprint)


@pytest.fixture
def fake() -> FakeGateway:
    return FakeGateway()


async def test_a_call_says_whose_it_is(fake: FakeGateway) -> None:
    async with fake.client() as client:
        session = client.for_user(
            "u-7",
            team="red",
            session="s-1",
            ip="2001:db8::7",
            feature="inbox",
            priority=headgate.Priority.SHEDDABLE,
            labels={"ticket": "T-1", "phase": "draft"},
        )
        async with session.call("summarize", labels={"phase": "final"}, team="blue") as call:
            call.release()

    request = asked(fake, call)
    assert (request.user, request.team, request.session) == ("u-7", "blue", "s-1")
    assert (request.ip, request.feature) == ("2001:db8::7", "inbox")
    assert request.priority == limit_pb2.PRIORITY_SHEDDABLE
    assert dict(request.labels) == {"ticket": "T-1", "phase": "final"}


async def test_sessions_do_not_know_of_each_other(fake: FakeGateway) -> None:
    async with fake.client() as client:
        sessions = [client.for_user(f"u-{number}", team=str(number)) for number in range(50)]
        calls = [each.call("summarize") for each in sessions]
        plain = client.call("summarize")

        async def run(call: headgate.Call) -> None:
            async with call:
                call.release()

        await asyncio.gather(*map(run, [*calls, plain]))
    told = [(asked(fake, call).user, asked(fake, call).team) for call in calls]

    assert told == [(f"u-{number}", str(number)) for number in range(50)]
    assert (asked(fake, plain).user, asked(fake, plain).team) == ("", "")
    assert asked(fake, plain).priority == limit_pb2.PRIORITY_UNSPECIFIED


async def test_a_session_of_a_session_has_the_words_of_both(fake: FakeGateway) -> None:
    async with fake.client() as client:
        team = client.for_user("", team="red", feature="inbox")
        call = team.for_user("u-1", feature="search").call("summarize")
        async with call:
            call.release()
        failed = client.for_user("u-2").run("summarize", lambda _: fail())
        with pytest.raises(ZeroDivisionError):
            await failed

    request = asked(fake, call)
    assert (request.user, request.team, request.feature) == ("u-1", "red", "search")
    assert {each.org for each in fake.ledger.entries.values()} == {"acme"}


async def fail() -> None:
    raise ZeroDivisionError


def test_blocking_sessions_are_sessions_too(fake: FakeGateway) -> None:
    with fake.sync_client() as client:
        with client.for_user("u-9", team="red").call("summarize") as call:
            call.release()
        assert client.for_user("u-8").run("summarize", lambda made: made.call_id)

    (first, _) = fake.ledger.entries.values()
    request = gateway_pb2.AdmitCallRequest.FromString(first.fingerprint)
    assert (request.user, request.team, request.call_id) == ("u-9", "red", call.call_id)
