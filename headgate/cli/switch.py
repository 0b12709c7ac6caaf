"""`headgate status`, `kill` and `resume`: whether calls pass, and the switches that decide it."""

from __future__ import annotations

import re
import sys
from typing import Annotated, Final

import typer

from headgate.api.common.v1 import health_pb2
from headgate.api.gateway.v1 import admin_pb2, gateway_pb2
from headgate.cli import wording
from headgate.cli.config import WrongUse
from headgate.cli.output import Json, say, show_json, show_table
from headgate.cli.session import Session, open_session

# What has to be typed before calls are stopped.
CONFIRMATION: Final = "stop all calls"
CONFIRMATION_OF_SCOPE: Final = "stop these calls"
_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_DURATION: Final = re.compile(r"([1-9][0-9]{0,6})([smhd])")

_Reason = Annotated[str, typer.Option(help="Why, for staff; it goes into the audit log.")]


def status(context: typer.Context, json: Json = False) -> None:
    """Shows whether calls pass and how fit the providers are."""
    answer = open_session(context).get_status()
    show_json(answer) if json else _show_status(answer)


def kill(
    context: typer.Context,
    *,
    reason: _Reason,
    message: Annotated[
        str, typer.Option(help="What callers are told. Empty: a fixed sentence.")
    ] = "",
    org: Annotated[str, typer.Option(help="Only calls of this org.")] = "",
    operation: Annotated[str, typer.Option(help="Only calls of this operation.")] = "",
    provider: Annotated[str, typer.Option(help="Only calls to this provider.")] = "",
    model: Annotated[str, typer.Option(help="Only calls to this model.")] = "",
    feature: Annotated[str, typer.Option(help="Only calls of this feature.")] = "",
    api_key: Annotated[str, typer.Option(help="Only calls by this key, by its id.")] = "",
    duration: Annotated[
        str, typer.Option("--for", metavar="TIME", help="Lift it after so long, such as 30m.")
    ] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask whether it is meant.")] = False,
    json: Json = False,
) -> None:
    """Stops calls: all of them, or those that the options name. When it returns, none of them is
    admitted any more.
    """
    named = {
        "org": org,
        "operation": operation,
        "provider": provider,
        "model": model,
        "feature": feature,
        "api_key": api_key,
    }
    request = admin_pb2.KillRequest(
        reason=reason,
        message=message,
        scope={dimension: value for dimension, value in named.items() if value},
    )
    if duration:
        request.expire_duration.seconds = _parse_duration(duration)
    session = open_session(context)
    _confirm(session, request, ask=not yes)
    answer = session.ask(lambda admin: admin.Kill, request)
    show_json(answer) if json else _show_switch(answer.kill)


def resume(
    context: typer.Context,
    reason: _Reason,
    kill_id: Annotated[
        str, typer.Argument(help="Which stop, as `status` names it. Empty: that of all calls.")
    ] = "",
    json: Json = False,
) -> None:
    """Lets calls pass again."""
    answer = open_session(context).ask(
        lambda admin: admin.Resume, admin_pb2.ResumeRequest(reason=reason, kill_id=kill_id)
    )
    show_json(answer) if json else _show_switch(answer.kill)


def _parse_duration(text: str) -> int:
    match = _DURATION.fullmatch(text)
    if match is None:
        raise WrongUse("--for takes a number and s, m, h or d, such as 30m")
    return int(match[1]) * _SECONDS[match[2]]


def _confirm(session: Session, request: admin_pb2.KillRequest, *, ask: bool) -> None:
    """Gets the token that confirms the stop, after the person has confirmed it."""
    if ask:
        _ask(request)
    considered = admin_pb2.PrepareKillRequest(
        reason=request.reason, message=request.message, scope=request.scope
    )
    if request.HasField("expire_duration"):
        considered.expire_duration.CopyFrom(request.expire_duration)
    prepared = session.ask(lambda admin: admin.PrepareKill, considered)
    request.confirmation_token = prepared.confirmation_token


def _ask(request: admin_pb2.KillRequest) -> None:
    expected, what = CONFIRMATION, "every call of every org"
    if request.scope:
        expected, what = CONFIRMATION_OF_SCOPE, f"the calls of {wording.scope(request.scope)}"
    if not sys.stdin.isatty():
        raise WrongUse(f"kill stops {what}: confirm it with --yes")
    print(f"This stops {what}, until `headgate resume`.", file=sys.stderr)
    print(f'Type "{expected}" to go on: ', end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip() != expected:
        raise WrongUse("not confirmed; nothing is stopped")


def _show_switch(switch: health_pb2.KillSwitch) -> None:
    state = wording.word(health_pb2.KillState.DESCRIPTOR, switch.state)
    what = f" for {wording.scope(switch.scope)} ({switch.kill_id})" if switch.scope else ""
    until = ""
    if switch.HasField("expire_time"):
        until = f", until {wording.instant(switch, 'expire_time')}"
    say(f"The kill switch{what} is {state}: {switch.reason} ({switch.actor}){until}")


def _show_status(answer: gateway_pb2.GetStatusResponse) -> None:
    say(f"Headgate is {wording.word(gateway_pb2.ServiceState.DESCRIPTOR, answer.state)}.")
    if answer.stale:
        say("The gateway has lost touch with health: what follows may be old.")
    for each in answer.kills:
        _show_switch(each)
    # Nobody's own breaker opens it for others; it may be open for each of those who call.
    down = set(answer.down_providers)
    show_table(
        ["PROVIDER", "BREAKER", ">FAILURES IN A ROW", "SINCE", "LAST SUCCESS", "LAST FAILURE"],
        [
            [
                each.provider,
                _state(each) if each.provider not in down else f"{_state(each)}, answers nobody",
                f"{each.consecutive_failure_count:,}",
                wording.instant(each, "change_time"),
                wording.instant(each, "success_time"),
                wording.instant(each, "failure_time"),
            ]
            for each in answer.providers
        ],
        empty="No provider has been observed yet.",
    )
    if answer.parts:
        show_table(
            [
                "PROVIDER",
                "MODEL",
                "CREDENTIAL",
                "BREAKER",
                "SINCE",
                "COOLS UNTIL",
                "REFUSED SINCE",
            ],
            [
                [
                    each.provider,
                    each.model or wording.NOTHING,
                    each.credential or wording.NOTHING,
                    _state(each),
                    wording.instant(each, "change_time"),
                    wording.instant(each, "cool_time"),
                    wording.instant(each, "refuse_time"),
                ]
                for each in answer.parts
            ],
            empty="",
        )


def _state(breaker: health_pb2.ProviderHealth | health_pb2.PartHealth) -> str:
    state = wording.word(health_pb2.BreakerState.DESCRIPTOR, breaker.state)
    return f"{state} (forced)" if breaker.override else state
