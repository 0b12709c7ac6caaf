"""`headgate status`, `kill` and `resume`: whether calls pass, and the switch that decides it."""

from __future__ import annotations

import sys
from typing import Annotated, Final

import typer

from headgate.api.common.v1 import health_pb2
from headgate.api.gateway.v1 import admin_pb2, gateway_pb2
from headgate.cli import wording
from headgate.cli.config import WrongUse
from headgate.cli.output import Json, say, show_json, show_table
from headgate.cli.session import open_session

# What has to be typed before all calls are stopped.
CONFIRMATION: Final = "stop all calls"

_Reason = Annotated[str, typer.Option(help="Why, for staff; it goes into the audit log.")]


def status(context: typer.Context, json: Json = False) -> None:
    """Shows whether calls pass and how fit the providers are."""
    answer = open_session(context).get_status()
    show_json(answer) if json else _show_status(answer)


def kill(
    context: typer.Context,
    reason: _Reason,
    message: Annotated[
        str, typer.Option(help="What callers are told. Empty: a fixed sentence.")
    ] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask whether it is meant.")] = False,
    json: Json = False,
) -> None:
    """Stops all calls of all orgs. When it returns, none is admitted any more."""
    session = open_session(context)
    if not yes:
        _confirm()
    answer = session.ask(
        lambda admin: admin.Kill, admin_pb2.KillRequest(reason=reason, message=message)
    )
    show_json(answer) if json else _show_switch(answer.kill)


def resume(context: typer.Context, reason: _Reason, json: Json = False) -> None:
    """Lets calls pass again."""
    answer = open_session(context).ask(
        lambda admin: admin.Resume, admin_pb2.ResumeRequest(reason=reason)
    )
    show_json(answer) if json else _show_switch(answer.kill)


def _confirm() -> None:
    if not sys.stdin.isatty():
        raise WrongUse("kill stops every call of every org: confirm it with --yes")
    print("This stops every call of every org, until `headgate resume`.", file=sys.stderr)
    print(f'Type "{CONFIRMATION}" to go on: ', end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip() != CONFIRMATION:
        raise WrongUse("not confirmed; nothing is stopped")


def _show_switch(switch: health_pb2.KillSwitch) -> None:
    state = wording.word(health_pb2.KillState.DESCRIPTOR, switch.state)
    say(f"The kill switch is {state}: {switch.reason} ({switch.actor})")


def _show_status(answer: gateway_pb2.GetStatusResponse) -> None:
    say(f"Headgate is {wording.word(gateway_pb2.ServiceState.DESCRIPTOR, answer.state)}.")
    if answer.stale:
        say("The gateway has lost touch with health: what follows may be old.")
    for each in answer.kills:
        _show_switch(each)
    show_table(
        ["PROVIDER", "BREAKER", ">FAILURES IN A ROW", "SINCE", "LAST SUCCESS", "LAST FAILURE"],
        [
            [
                each.provider,
                wording.word(health_pb2.BreakerState.DESCRIPTOR, each.state),
                f"{each.consecutive_failure_count:,}",
                wording.instant(each, "change_time"),
                wording.instant(each, "success_time"),
                wording.instant(each, "failure_time"),
            ]
            for each in answer.providers
        ],
        empty="No provider has been observed yet.",
    )
