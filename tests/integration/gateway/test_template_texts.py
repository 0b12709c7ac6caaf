"""Fallback texts from templates: what whoever is denied is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import grpc
import pytest
import pytest_asyncio

from gateway import batches
from headgate.api.common.v1 import call_pb2, denial_pb2
from headgate.api.gateway.v1 import admin_pb2, gateway_pb2
from headgate.api.gateway.v1 import template_admin_pb2 as pb
from tests.integration.gateway.system import Keyed, System, eventually, new_id, refusal
from tests.integration.gateway.test_templates import put, staff

__all__ = ["staff"]


@pytest_asyncio.fixture
async def named(system: System, staff: Keyed) -> AsyncIterator[str]:
    """An operation whose route names a template."""
    await staff.PutTemplate(put())
    route = admin_pb2.Route(
        operation="chat-more",
        candidates=[call_pb2.Candidate(provider="openai", model="gpt-4o-mini")],
        fallback_text="The route's own.",
        fallback_template="sorry",
    )
    await system.staff().PutRoute(admin_pb2.PutRouteRequest(route=route))
    yield route.operation


def ask(operation: str, **values: Any) -> gateway_pb2.AdmitCallRequest:
    return gateway_pb2.AdmitCallRequest(call_id=new_id(), operation=operation, **values)


async def deny(system: System) -> None:
    order = admin_pb2.PrepareKillRequest(reason="trial", message="Maintenance.")
    prepared = await system.staff().PrepareKill(order)
    await system.staff().Kill(
        admin_pb2.KillRequest(
            reason=order.reason,
            message=order.message,
            confirmation_token=prepared.confirmation_token,
        )
    )


async def shown(backend: Keyed, request: gateway_pb2.AdmitCallRequest, text: str) -> None:
    """Waits until the gateway knows route and template."""

    async def is_shown() -> bool:
        request.call_id = new_id()
        try:
            decision = (await backend.AdmitCall(request)).decision
        except grpc.aio.AioRpcError:
            # There is no such operation until the next poll.
            return False
        return text in {decision.denial.fallback_text, decision.admission.fallback_text}

    await eventually(is_shown)


async def test_a_denied_caller_is_told_in_its_language_with_its_variables(
    system: System, named: str
) -> None:
    backend = system.backend()
    await deny(system)

    await shown(backend, ask(named), "Sorry there, fenced.")
    german = ask(named, locale="de-AT", variables={"name": "Ada"})
    french = ask(named, locale="fr", variables={"name": "Ada", "unused": "x"})
    answers = await backend.AdmitCalls(gateway_pb2.AdmitCallsRequest(calls=[german, french]))

    told = [each.denial for each in answers.decisions]
    assert [each.fallback_text for each in told] == [
        "Leider nicht, Ada: chat-more.",
        "Sorry Ada, fenced.",
    ]
    assert [each.plain_fallback_text for each in told] == [
        "Leider nicht, : chat-more.",
        "Sorry there, fenced.",
    ]


async def test_an_admitted_caller_knows_what_to_show_if_all_fails(
    system: System, named: str
) -> None:
    backend = system.backend()

    await shown(backend, ask(named, variables={"name": "Ada"}), "Sorry Ada, failed.")


async def test_words_are_no_part_of_what_makes_two_calls_the_same(
    system: System, named: str
) -> None:
    backend, first = system.backend(), ask("summarize")
    admitted = (await backend.AdmitCall(first)).decision.admission
    first.locale = "de"
    first.variables["name"] = "Ada"

    again = (await backend.AdmitCall(first)).decision.admission

    assert (again.replayed, again.permit) == (True, admitted.permit)


async def test_without_admission_and_postgres_the_error_carries_the_text(
    system: System, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "RETRY_SECONDS_MAX", 0.1)
    backend = system.backend()

    await shown(backend, ask(named), "Sorry there, failed.")
    await system.stop("admission")
    connection = await asyncpg.connect(system.url)
    # The gateway's copy is all that there is.
    await connection.execute("ALTER TABLE gateway.template_revision RENAME TO gone")
    await connection.close()

    refused = await refusal(backend.AdmitCall(ask(named, variables={"name": "Ada"})))

    assert (refused.code, refused.metadata) == (
        "UNAVAILABLE",
        {"peer": "admission", "fallback_text": "Sorry Ada, unavailable."},
    )


async def test_a_deleted_template_leaves_the_routes_own_text(
    system: System, staff: Keyed, named: str
) -> None:
    backend = system.backend()
    await staff.DeleteTemplate(pb.DeleteTemplateRequest(template_id="sorry"))

    await shown(backend, ask(named), "The route's own.")


async def test_a_denial_of_a_call_without_a_template_is_as_ever(system: System) -> None:
    await deny(system)
    answer = await system.backend().AdmitCall(ask("summarize", variables={"name": "Ada"}))

    denial = answer.decision.denial
    assert denial.reason == denial_pb2.DENIAL_REASON_FENCED
    assert denial.fallback_text == denial.plain_fallback_text != ""
