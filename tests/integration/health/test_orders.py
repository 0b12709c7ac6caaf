"""Breakers that a person forces, the history, and bounds against invented names."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import grpc
import pytest

from headgate.api.common.v1 import call_pb2
from headgate.api.common.v1 import health_pb2 as common_pb2
from headgate.api.health.v1 import health_pb2 as pb
from services.health import watchers
from tests.integration.health.replicas import Replica, fetch, serve_replica, settings_of
from tests.integration.health.test_rpcs import refuse
from tests.integration.health.test_watch import FAILED, fail_five, next_change, outcome

OPEN, CLOSED = common_pb2.BREAKER_STATE_OPEN, common_pb2.BREAKER_STATE_CLOSED
ORDER: Final = pb.SetBreakerRequest(
    provider="openai",
    override=common_pb2.BREAKER_OVERRIDE_OPEN,
    reason="maintenance",
    actor="ada",
    audit_id="a-1",
)


@pytest.fixture
async def replica(url: str) -> AsyncIterator[Replica]:
    async with serve_replica(settings_of(url)) as served:
        yield served


def order(**changed: Any) -> pb.SetBreakerRequest:
    request = pb.SetBreakerRequest()
    request.CopyFrom(ORDER)
    for name, value in changed.items():
        setattr(request, name, value)
    return request


async def test_a_forced_breaker_stays_until_it_is_given_back(replica: Replica) -> None:
    stream = aiter(replica.stub.Watch(pb.WatchRequest()))
    await next_change(stream)
    forced = await replica.stub.SetBreaker(ORDER)
    [seen] = (await next_change(stream)).providers
    held = await replica.stub.SetBreaker(order(override=common_pb2.BREAKER_OVERRIDE_CLOSED))
    await fail_five(replica)
    [still] = (await replica.stub.GetHealth(pb.GetHealthRequest())).providers
    reset = await replica.stub.SetBreaker(order(override=0))

    assert (forced.state, forced.epoch, seen.override) == (OPEN, 1, ORDER.override)
    assert (held.state, held.epoch) == (CLOSED, 2)
    assert still.state == CLOSED
    assert (reset.state, reset.epoch, reset.override) == (CLOSED, 3, 0)


async def test_the_history_says_what_happened_why_and_who_did_it(replica: Replica) -> None:
    await fail_five(replica)
    await replica.stub.SetBreaker(order(override=0, reason="looked at it"))
    await replica.stub.SetBreaker(order(credential="acme"))

    first = await replica.stub.ListBreakerMoves(pb.ListBreakerMovesRequest(page_size=2))
    rest = await replica.stub.ListBreakerMoves(
        pb.ListBreakerMovesRequest(page_size=2, page_token=first.next_page_token)
    )

    moves = [*first.moves, *rest.moves]
    assert [(each.cause, each.actor, each.credential) for each in moves] == [
        ("forced", "ada", "acme"),
        ("reset", "ada", ""),
        ("failures", "", ""),
    ]
    assert [(each.before, each.after) for each in moves] == [
        (CLOSED, OPEN),
        (OPEN, CLOSED),
        (CLOSED, OPEN),
    ]
    assert moves[1].reason == "looked at it"
    assert rest.next_page_token == ""
    other = await replica.stub.ListBreakerMoves(pb.ListBreakerMovesRequest(provider="google"))
    assert list(other.moves) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("provider", ""),
        ("provider", "Open AI"),
        ("model", "a b"),
        ("credential", "a/b/c"),
        ("override", 99),
        ("reason", ""),
        ("actor", ""),
        ("audit_id", ""),
    ],
)
async def test_a_wrong_order_is_refused_and_changes_nothing(
    replica: Replica, url: str, field: str, value: Any
) -> None:
    error = await refuse(replica.stub.SetBreaker(order(**{field: value})))

    assert error.code is grpc.StatusCode.INVALID_ARGUMENT
    assert [violation.field for violation in error.violations] == [field]
    assert await fetch(url, "SELECT 1 FROM circuit") == []


async def test_a_breaker_is_of_a_model_or_of_a_credential(replica: Replica) -> None:
    error = await refuse(replica.stub.SetBreaker(order(model="gpt-4o", credential="acme")))

    assert [violation.field for violation in error.violations] == ["credential"]


async def test_a_refused_credential_is_in_the_history_at_once(replica: Replica) -> None:
    refused = outcome(call_pb2.CALL_OUTCOME_REJECTED)
    refused.org, refused.credential, refused.error_type = "acme", "acme", "401"
    for _ in range(2):
        await replica.stub.Observe(pb.ObserveRequest(observations=[refused]))

    [move] = (await replica.stub.ListBreakerMoves(pb.ListBreakerMovesRequest())).moves
    assert (move.cause, move.credential, move.before) == ("credential-refused", "acme", move.after)


async def test_invented_providers_and_credentials_fill_no_table(
    replica: Replica, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = aiter(replica.stub.Watch(pb.WatchRequest()))
    await next_change(stream)
    await replica.stub.Observe(pb.ObserveRequest(observations=[outcome(FAILED)]))
    await next_change(stream)
    monkeypatch.setattr(watchers, "BREAKER_COUNT_MAX", 1)

    invented = [outcome(FAILED) for _ in range(100)]
    for number, each in enumerate(invented):
        each.provider = f"invented-{number}"
    named = outcome(FAILED)
    named.credential = named.org
    answer = await replica.stub.Observe(pb.ObserveRequest(observations=[*invented, named]))

    assert answer.stale_count == 100
    [row] = await fetch(url, "SELECT provider, failure_count FROM circuit")
    assert (row["provider"], row["failure_count"]) == ("openai", 2)
