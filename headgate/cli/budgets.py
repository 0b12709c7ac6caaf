"""`headgate budgets`: more room under a limit, asked for, approved, and over by itself."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Annotated, Final

import typer

from headgate.api.gateway.v1 import (
    approval_pb2,
    limit_admin_pb2,
    limit_admin_pb2_grpc,
)
from headgate.cli import wording
from headgate.cli.config import WrongUse
from headgate.cli.limit_options import MetricName, parse_amount, parse_instant
from headgate.cli.output import Json, say, show_json, show_table
from headgate.cli.session import open_session

app = typer.Typer(name="budgets", help="More room for a time.", no_args_is_help=True)

_SERVICE: Final = limit_admin_pb2_grpc.LimitAdminServiceStub
_Increase = Annotated[str, typer.Argument(metavar="INCREASE", help="Id of the request.")]


@app.command("ask")
def ask(
    context: typer.Context,
    *,
    limit: Annotated[str, typer.Argument(help="The limit, as a denial names it.")],
    until: Annotated[str, typer.Option(help="When it ends, such as 2026-12-01T00:00:00Z.")],
    reason: Annotated[str, typer.Option(help="Why, for whoever decides.")],
    usd: Annotated[str, typer.Option(help="By how many US dollars, such as 50.")] = "",
    count: Annotated[int, typer.Option(min=0, help="By how many calls or tokens.")] = 0,
    org: Annotated[str, typer.Option(help="Org that asks. Empty: the platform.")] = "",
    json: Json = False,
) -> None:
    """Asks for more room; nothing changes until somebody approves."""
    if bool(usd) == bool(count):
        raise WrongUse("say by how much: either --usd, or --count")
    request = limit_admin_pb2.RequestBudgetIncreaseRequest(
        increase_id=str(uuid.uuid4()),
        org=org,
        limit_id=limit,
        amount=parse_amount("--usd", usd, MetricName.COST) if usd else count,
        end_time=parse_instant("--until", until),
        reason=reason,
    )
    answer = open_session(context).ask_at(_SERVICE, lambda at: at.RequestBudgetIncrease, request)
    show_json(answer) if json else _show([answer.increase])


@app.command("list")
def list_increases(
    context: typer.Context,
    org: Annotated[str, typer.Option(help="Only of this org.")] = "",
    pending: Annotated[bool, typer.Option("--pending", help="Only those that wait.")] = False,
    json: Json = False,
) -> None:
    """Lists what was asked for, newest first."""
    state = (
        approval_pb2.APPROVAL_STATE_PENDING if pending else approval_pb2.APPROVAL_STATE_UNSPECIFIED
    )
    request = limit_admin_pb2.ListBudgetIncreasesRequest(org=org, state=state)
    answer = open_session(context).collect_at(_SERVICE, lambda at: at.ListBudgetIncreases, request)
    show_json(answer) if json else _show(answer.increases)


@app.command("approve")
def approve(
    context: typer.Context,
    increase: _Increase,
    reason: Annotated[str, typer.Option(help="Why.")] = "",
    json: Json = False,
) -> None:
    """Gives the room until its end: the next call finds it."""
    request = limit_admin_pb2.ApproveBudgetIncreaseRequest(increase_id=increase, reason=reason)
    answer = open_session(context).ask_at(_SERVICE, lambda at: at.ApproveBudgetIncrease, request)
    if json:
        show_json(answer)
    else:
        until = wording.instant(answer.increase, "end_time")
        say(f"The limit {answer.increase.boost_limit_id} gives the room until {until}.")


@app.command("reject")
def reject(
    context: typer.Context,
    increase: _Increase,
    reason: Annotated[str, typer.Option(help="Why.")],
    json: Json = False,
) -> None:
    """Refuses it."""
    request = limit_admin_pb2.RejectBudgetIncreaseRequest(increase_id=increase, reason=reason)
    answer = open_session(context).ask_at(_SERVICE, lambda at: at.RejectBudgetIncrease, request)
    show_json(answer) if json else say(f"The increase of {answer.increase.limit_id} is rejected.")


def _show(increases: Iterable[limit_admin_pb2.BudgetIncrease]) -> None:
    states = approval_pb2.ApprovalState.DESCRIPTOR
    show_table(
        [
            *("INCREASE", "ORG", "LIMIT", ">BY", "UNTIL", "STATE", "ASKED BY", "WHY"),
            *("DECIDED BY", "BECAUSE"),
        ],
        [
            [
                each.increase_id,
                each.org or wording.PLATFORM,
                each.limit_id,
                wording.amount(each.metric, each.amount),
                wording.instant(each, "end_time"),
                wording.word(states, each.state),
                each.requester,
                each.reason,
                each.decider or wording.NOTHING,
                each.decision_reason or wording.NOTHING,
            ]
            for each in increases
        ],
        empty="Nobody asked for more.",
    )
