"""`headgate toggles`: features that are on or off, and what became of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer

from headgate.api.common.v1 import toggle_pb2
from headgate.api.gateway.v1 import admin_pb2
from headgate.cli import wording
from headgate.cli.output import Json, say, show_json, show_table
from headgate.cli.session import open_session

app = typer.Typer(name="toggles", help="Features that are on or off.", no_args_is_help=True)

_Name = Annotated[str, typer.Argument(help="The toggle, such as ai-generation.")]
_Org = Annotated[str, typer.Option(help="Only for calls of this org.")]
_Operation = Annotated[str, typer.Option(help="Only for this operation.")]
_Reason = Annotated[str, typer.Option(help="Why, for staff; it goes into the audit log.")]
_Description = Annotated[str, typer.Option(help="What it does. Empty: as it was.")]


@app.command("list")
def list_toggles(context: typer.Context, json: Json = False) -> None:
    """Lists all toggles, and where they are different."""
    answer = open_session(context).ask(
        lambda admin: admin.ListToggles, admin_pb2.ListTogglesRequest()
    )
    show_json(answer) if json else _show_toggles(answer.toggles)


@app.command("show")
def show_toggle(context: typer.Context, name: _Name, json: Json = False) -> None:
    """Shows one toggle, where it is different, and its version."""
    answer = open_session(context).ask(
        lambda admin: admin.GetToggle, admin_pb2.GetToggleRequest(toggle_id=name)
    )
    if json:
        show_json(answer)
    else:
        _show_toggles([answer.toggle])
        say(f"Version {answer.toggle.version}")


@app.command("on")
def switch_on(
    context: typer.Context,
    *,
    name: _Name,
    reason: _Reason,
    org: _Org = "",
    operation: _Operation = "",
    description: _Description = "",
) -> None:
    """Switches a toggle on, everywhere or in one place; a new name makes a new toggle."""
    request = admin_pb2.PutToggleRequest(
        toggle_id=name,
        org=org,
        operation=operation,
        enabled=True,
        description=description,
        reason=reason,
    )
    _put(context, request)


@app.command("off")
def switch_off(
    context: typer.Context,
    *,
    name: _Name,
    reason: _Reason,
    org: _Org = "",
    operation: _Operation = "",
    description: _Description = "",
) -> None:
    """Switches a toggle off, everywhere or in one place; a new name makes a new toggle."""
    request = admin_pb2.PutToggleRequest(
        toggle_id=name, org=org, operation=operation, description=description, reason=reason
    )
    _put(context, request)


@app.command("delete")
def delete(
    context: typer.Context,
    name: _Name,
    reason: _Reason,
    org: _Org = "",
    operation: _Operation = "",
) -> None:
    """Deletes what a toggle is in one place; without a place, the toggle."""
    open_session(context).ask(
        lambda admin: admin.DeleteToggle,
        admin_pb2.DeleteToggleRequest(toggle_id=name, org=org, operation=operation, reason=reason),
        repeatable=False,
    )
    say(f"Deleted: {name}{_place(org, operation)}")


@app.command("history")
def history(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Only this toggle.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="The newest so many.")] = 50,
    json: Json = False,
) -> None:
    """Lists what changed toggles, newest first."""
    answer = open_session(context).ask(
        lambda admin: admin.ListToggleChanges,
        admin_pb2.ListToggleChangesRequest(toggle_id=name, page_size=limit),
    )
    show_json(answer) if json else _show_changes(answer)


def _put(context: typer.Context, request: admin_pb2.PutToggleRequest) -> None:
    open_session(context).ask(lambda admin: admin.PutToggle, request)
    say(f"{request.toggle_id}{_place(request.org, request.operation)}: {_on(request.enabled)}")


def _show_toggles(toggles: Iterable[toggle_pb2.Toggle]) -> None:
    rows = []
    for toggle in toggles:
        state = _on(toggle.enabled) + (" (locked)" if toggle.locked else "")
        rows.append([toggle.toggle_id, "everywhere", state, toggle.description])
        rows += [["", _where(rule), _on(rule.enabled), ""] for rule in toggle.rules]
    show_table(["TOGGLE", "WHERE", "STATE", "WHAT IT DOES"], rows, empty="There are no toggles.")


def _show_changes(answer: admin_pb2.ListToggleChangesResponse) -> None:
    show_table(
        ["WHEN", "TOGGLE", "WHERE", "FROM", "TO", "WHO", "WHY"],
        [
            [
                wording.instant(each, "change_time"),
                each.toggle_id,
                _where(each),
                _on(each.before) if each.HasField("before") else wording.NOTHING,
                _on(each.after) if each.HasField("after") else wording.NOTHING,
                each.actor,
                each.reason,
            ]
            for each in answer.changes
        ],
        empty="No toggle has been changed yet.",
    )


def _on(enabled: bool) -> str:
    return "on" if enabled else "off"


def _where(at: toggle_pb2.ToggleRule | toggle_pb2.ToggleChange) -> str:
    return _place(at.org, at.operation).removeprefix(" for ") or "everywhere"


def _place(org: str, operation: str) -> str:
    named = [f"org {org}"] if org else []
    named += [f"operation {operation}"] if operation else []
    return f" for {', '.join(named)}" if named else ""
