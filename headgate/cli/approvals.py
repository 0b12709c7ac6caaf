"""`headgate approvals`: calls that wait for a person's leave, and what people said."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Final

import typer

from headgate.api.gateway.v1 import approval_admin_pb2, approval_admin_pb2_grpc, approval_pb2
from headgate.cli import wording
from headgate.cli.output import Json, say, show_json, show_table
from headgate.cli.session import open_session
from headgate.money import format_usd

app = typer.Typer(name="approvals", help="Calls that need a person's leave.", no_args_is_help=True)

PENDING: Final = approval_pb2.APPROVAL_STATE_PENDING
_SERVICE: Final = approval_admin_pb2_grpc.ApprovalAdminServiceStub

_Approval = Annotated[str, typer.Argument(metavar="APPROVAL", help="Id of the request.")]
_Org = Annotated[str, typer.Option(help="Its org, if your role is for that one alone.")]
_OnlyOrg = Annotated[str, typer.Option(help="Only of this org.")]
_Operation = Annotated[str, typer.Option(help="Only of this operation.")]


@app.command("list")
def list_pending(
    context: typer.Context, org: _OnlyOrg = "", operation: _Operation = "", json: Json = False
) -> None:
    """Lists the requests that wait, newest first."""
    request = approval_admin_pb2.ListApprovalsRequest(org=org, operation=operation, state=PENDING)
    answer = open_session(context).collect_at(_SERVICE, lambda at: at.ListApprovals, request)
    show_json(answer) if json else _show_all(answer.approvals, empty="Nothing waits for leave.")


@app.command("history")
def show_history(
    context: typer.Context,
    org: _OnlyOrg = "",
    operation: _Operation = "",
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="The newest so many.")] = 50,
    json: Json = False,
) -> None:
    """Lists requests in any state, newest first."""
    request = approval_admin_pb2.ListApprovalsRequest(
        org=org, operation=operation, page_size=limit
    )
    answer = open_session(context).ask_at(_SERVICE, lambda at: at.ListApprovals, request)
    show_json(answer) if json else _show_all(answer.approvals, empty="Nobody ever asked.")


@app.command("show")
def show_approval(
    context: typer.Context, approval: _Approval, org: _Org = "", json: Json = False
) -> None:
    """Shows one request with all that people decide by."""
    request = approval_admin_pb2.GetApprovalRequest(approval_id=approval, org=org)
    answer = open_session(context).ask_at(_SERVICE, lambda at: at.GetApproval, request)
    show_json(answer) if json else _show_one(answer.approval)


@app.command("approve")
def approve(
    context: typer.Context,
    approval: _Approval,
    org: _Org = "",
    reason: Annotated[str, typer.Option(help="Why; the requester is told.")] = "",
    json: Json = False,
) -> None:
    """Gives leave: the call may be made, once, as far as limits let it."""
    request = approval_admin_pb2.ApproveCallRequest(approval_id=approval, org=org, reason=reason)
    answer = open_session(context).ask_at(_SERVICE, lambda at: at.ApproveCall, request)
    show_json(answer) if json else _say_state(answer.approval)


@app.command("reject")
def reject(
    context: typer.Context,
    approval: _Approval,
    reason: Annotated[str, typer.Option(help="Why; the requester is told.")],
    org: _Org = "",
    json: Json = False,
) -> None:
    """Refuses leave."""
    request = approval_admin_pb2.RejectCallRequest(approval_id=approval, org=org, reason=reason)
    answer = open_session(context).ask_at(_SERVICE, lambda at: at.RejectCall, request)
    show_json(answer) if json else _say_state(answer.approval)


def _say_state(approval: approval_pb2.Approval) -> None:
    until = wording.instant(approval, "expire_time")
    state = _state(approval)
    may = f": it may be made until {until}" if state == "approved" else ""
    say(f"The call {approval.call_id} of {approval.org} is {state}{may}.")


def _show_all(approvals: Iterable[approval_pb2.Approval], *, empty: str) -> None:
    show_table(
        [
            *("APPROVAL", "ASKED", "ORG", "OPERATION", ">AT MOST", "NEEDED BY", "STATE", "UNTIL"),
            *("DECIDED BY", "WHAT FOR"),
        ],
        [
            [
                each.approval_id,
                wording.instant(each, "create_time"),
                each.org,
                each.operation,
                format_usd(each.cost_nanos_max),
                _need(each),
                _state(each),
                wording.instant(each, "expire_time"),
                each.decider or wording.NOTHING,
                each.summary,
            ]
            for each in approvals
        ],
        empty=empty,
    )


def _show_one(approval: approval_pb2.Approval) -> None:
    candidates = [f"{each.provider}/{each.model}" for each in approval.candidates]
    told = [f"{name} {value}" for name, value in sorted(approval.dimensions.items())]
    facts = {
        "state": _state(approval),
        "org": approval.org,
        "operation": approval.operation,
        "call": approval.call_id,
        "what for": approval.summary,
        "asked by": approval.requester,
        "asked": wording.instant(approval, "create_time"),
        "needed by": _need(approval),
        "may go to": ", ".join(candidates),
        "at most": format_usd(approval.cost_nanos_max),
        "tells": ", ".join(told) or wording.NOTHING,
        "until": wording.instant(approval, "expire_time"),
        "decided by": approval.decider or wording.NOTHING,
        "decided": wording.instant(approval, "decide_time"),
        "reason": approval.reason or wording.NOTHING,
    }
    show_table(["FACT", "VALUE"], [list(each) for each in facts.items()], empty="")


def _state(approval: approval_pb2.Approval) -> str:
    return wording.word(approval_pb2.ApprovalState.DESCRIPTOR, approval.state)


def _need(approval: approval_pb2.Approval) -> str:
    return wording.word(approval_pb2.ApprovalNeed.DESCRIPTOR, approval.need)
