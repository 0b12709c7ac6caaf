"""`headgate breakers`: what breakers did, and what staff make them do."""

from __future__ import annotations

from typing import Annotated

import typer

from headgate.api.common.v1 import health_pb2
from headgate.api.gateway.v1 import admin_pb2
from headgate.cli import wording
from headgate.cli.output import Json, say, show_json, show_table
from headgate.cli.session import open_session

app = typer.Typer(
    name="breakers", help="What stops calls to providers that fail.", no_args_is_help=True
)

_Provider = Annotated[str, typer.Argument(help="The provider, such as openai.")]
_Model = Annotated[str, typer.Option(help="Only this model of it.")]
_Credential = Annotated[str, typer.Option(help="Only this credential: an org, or org/name.")]
_Reason = Annotated[str, typer.Option(help="Why, for staff; it goes into the audit log.")]


@app.command("history")
def history(
    context: typer.Context,
    provider: Annotated[str, typer.Option(help="Only this provider.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="The newest so many.")] = 50,
    json: Json = False,
) -> None:
    """Lists what changed breakers' states, newest first."""
    answer = open_session(context).ask(
        lambda admin: admin.ListBreakerMoves,
        admin_pb2.ListBreakerMovesRequest(provider=provider, page_size=limit),
    )
    show_json(answer) if json else _show_moves(answer)


@app.command("open")
def force_open(
    context: typer.Context,
    provider: _Provider,
    reason: _Reason,
    model: _Model = "",
    credential: _Credential = "",
) -> None:
    """Lets no call pass until `reset`."""
    request = admin_pb2.SetBreakerRequest(
        provider=provider, model=model, credential=credential, reason=reason
    )
    _force(context, request, health_pb2.BREAKER_OVERRIDE_OPEN)


@app.command("close")
def force_close(
    context: typer.Context,
    provider: _Provider,
    reason: _Reason,
    model: _Model = "",
    credential: _Credential = "",
) -> None:
    """Lets calls pass, whatever fails, until `reset`."""
    request = admin_pb2.SetBreakerRequest(
        provider=provider, model=model, credential=credential, reason=reason
    )
    _force(context, request, health_pb2.BREAKER_OVERRIDE_CLOSED)


@app.command("reset")
def reset(
    context: typer.Context,
    provider: _Provider,
    reason: _Reason,
    model: _Model = "",
    credential: _Credential = "",
) -> None:
    """Closes it, forgets its failures, and lets it decide by itself again."""
    request = admin_pb2.SetBreakerRequest(
        provider=provider, model=model, credential=credential, reason=reason
    )
    _force(context, request, health_pb2.BREAKER_OVERRIDE_UNSPECIFIED)


def _force(
    context: typer.Context,
    request: admin_pb2.SetBreakerRequest,
    override: health_pb2.BreakerOverride.ValueType,
) -> None:
    request.override = override
    answer = open_session(context).ask(lambda admin: admin.SetBreaker, request)
    state = wording.word(health_pb2.BreakerState.DESCRIPTOR, answer.state)
    held = "" if answer.override == 0 else ", until it is reset"
    say(f"The breaker of {_name(request)} is {state}{held}.")


def _name(what: admin_pb2.SetBreakerRequest | health_pb2.BreakerMove) -> str:
    if what.model:
        return f"{what.provider}, model {what.model}"
    if what.credential:
        return f"{what.provider}, credential {what.credential}"
    return what.provider


def _show_moves(answer: admin_pb2.ListBreakerMovesResponse) -> None:
    states = health_pb2.BreakerState.DESCRIPTOR
    show_table(
        ["WHEN", "BREAKER", "FROM", "TO", "WHY", "WHO"],
        [
            [
                wording.instant(each, "move_time"),
                _name(each),
                wording.word(states, each.before),
                wording.word(states, each.after),
                f"{each.cause}: {each.reason}" if each.reason else each.cause,
                each.actor or wording.NOTHING,
            ]
            for each in answer.moves
        ],
        empty="No breaker has changed its state yet.",
    )
