"""`headgate staff`, `login` and `logout`: people who operate Headgate."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Iterable
from typing import Annotated

import typer

from headgate.api.gateway.v1 import admin_pb2, staff_pb2, staff_pb2_grpc
from headgate.cli import oidc, wording
from headgate.cli.config import KEY_VARIABLE, WrongUse
from headgate.cli.output import Json, say, show_json, show_table
from headgate.cli.session import open_session

app = typer.Typer(
    name="staff", help="People who operate Headgate, and their roles.", no_args_is_help=True
)

Grants = Annotated[
    list[str],
    typer.Option("--grant", help="ROLE for the whole platform, or ROLE@ORG; repeat it for more."),
]
StaffId = Annotated[str, typer.Argument(help="Id, such as s_3f9a0c41d2e7.")]
Name = Annotated[str, typer.Option(help="Name for people.")]


@app.command("list")
def list_staff(
    context: typer.Context,
    org: Annotated[str, typer.Option(help="Only who has a role for this org.")] = "",
    json: Json = False,
) -> None:
    """Lists staff, newest first."""
    request = staff_pb2.ListStaffRequest(org=org)
    answer = open_session(context).collect_at(
        staff_pb2_grpc.StaffServiceStub, lambda stub: stub.ListStaff, request
    )
    show_json(answer) if json else _show_members(answer.members)


@app.command("invite")
def invite(
    context: typer.Context,
    email: Annotated[str, typer.Argument(help="E-mail address.")],
    grant: Grants,
    json: Json = False,
) -> None:
    """Invites somebody and prints the secret to send them: it is shown this once."""
    request = staff_pb2.InviteStaffRequest(email=email, grants=_read_grants(grant))
    answer = open_session(context).ask_staff(lambda stub: stub.InviteStaff, request)
    show_json(answer) if json else _show_secret(answer.secret)


@app.command("reset")
def reset(context: typer.Context, staff_id: StaffId, json: Json = False) -> None:
    """Ends somebody's sessions and prints a secret by which they set a new password."""
    request = staff_pb2.ResetStaffPasswordRequest(staff_id=staff_id)
    answer = open_session(context).ask_staff(lambda stub: stub.ResetStaffPassword, request)
    show_json(answer) if json else _show_secret(answer.secret)


@app.command("accept")
def accept(
    context: typer.Context,
    name: Name = "",
) -> None:
    """Sets a password by an invitation; asks for the secret, then for the password."""
    request = staff_pb2.AcceptInvitationRequest(
        secret=_ask("Secret: "), name=name, password=_ask("New password: ")
    )
    session = open_session(context, needs_key=False)
    _show_session(session.ask_staff(lambda stub: stub.AcceptInvitation, request).session)


@app.command("bootstrap")
def bootstrap(
    context: typer.Context,
    email: Annotated[str, typer.Argument(help="E-mail address.")],
    name: Name,
) -> None:
    """Makes the first admin; asks for the installation's token, then for the password."""
    request = staff_pb2.BootstrapRequest(
        token=_ask("Token: "), email=email, name=name, password=_ask("New password: ")
    )
    session = open_session(context, needs_key=False)
    _show_session(session.ask_staff(lambda stub: stub.Bootstrap, request).session)


@app.command("grant")
def put_grants(
    context: typer.Context, staff_id: StaffId, grant: Grants, json: Json = False
) -> None:
    """Replaces all roles of somebody."""
    request = staff_pb2.PutStaffGrantsRequest(staff_id=staff_id, grants=_read_grants(grant))
    answer = open_session(context).ask_staff(lambda stub: stub.PutStaffGrants, request)
    show_json(answer) if json else _show_members([answer.member])


@app.command("disable")
def disable(context: typer.Context, staff_id: StaffId, json: Json = False) -> None:
    """Locks somebody out, and ends their sessions."""
    request = staff_pb2.DisableStaffRequest(staff_id=staff_id)
    answer = open_session(context).ask_staff(lambda stub: stub.DisableStaff, request)
    show_json(answer) if json else _show_members([answer.member])


@app.command("enable")
def enable(context: typer.Context, staff_id: StaffId, json: Json = False) -> None:
    """Lets somebody in again."""
    request = staff_pb2.EnableStaffRequest(staff_id=staff_id)
    answer = open_session(context).ask_staff(lambda stub: stub.EnableStaff, request)
    show_json(answer) if json else _show_members([answer.member])


def login(
    context: typer.Context,
    email: Annotated[str, typer.Argument(help="E-mail address.")] = "",
    by_provider: Annotated[
        bool, typer.Option("--oidc", help="Log in at the OpenID provider's page, in a browser.")
    ] = False,
) -> None:
    """Logs you in, by your password or --oidc, and prints a session's token, for
    HEADGATE_ADMIN_KEY.
    """
    if by_provider is bool(email):
        raise WrongUse("give either your e-mail address, or --oidc")
    if by_provider:
        _show_session(oidc.log_in(context))
        return
    request = staff_pb2.LoginRequest(email=email, password=_ask("Password: "))
    session = open_session(context, needs_key=False)
    _show_session(session.ask_staff(lambda stub: stub.Login, request).session)


def logout(context: typer.Context) -> None:
    """Ends the session whose token you show."""
    request = staff_pb2.LogoutRequest()
    open_session(context).ask_staff(lambda stub: stub.Logout, request)


def _ask(question: str) -> str:
    """Reads a secret: from a terminal without showing it, else a line of the standard input."""
    if sys.stdin.isatty():
        return getpass.getpass(question)
    return sys.stdin.readline().rstrip("\n")


def _read_grants(texts: Iterable[str]) -> list[staff_pb2.Grant]:
    grants = []
    for text in texts:
        role, _, org = text.partition("@")
        # The api-user of the documents is the contract's backend.
        name = f"ROLE_{'BACKEND' if role == 'api-user' else role.upper()}"
        if name not in admin_pb2.Role.keys()[1:]:
            raise WrongUse(f"{text!r} is not ROLE or ROLE@ORG; roles: {', '.join(_roles())}")
        grants.append(staff_pb2.Grant(role=admin_pb2.Role.Value(name), org=org))
    return grants


def _roles() -> list[str]:
    return ["api-user", *(name[5:].lower() for name in admin_pb2.Role.keys()[1:])]


def _show_session(session: staff_pb2.Session) -> None:
    say(session.token)
    print(f"Set {KEY_VARIABLE} to it; it is not shown again.", file=sys.stderr)


def _show_secret(secret: str) -> None:
    say(secret)
    print("Send it to whom it is for; it is not shown again.", file=sys.stderr)


def _show_members(members: Iterable[staff_pb2.StaffMember]) -> None:
    show_table(
        ["ID", "E-MAIL", "NAME", "ROLES", "CREATED", "DISABLED"],
        [
            [
                each.staff_id,
                each.email,
                each.name,
                ", ".join(_word(grant) for grant in each.grants),
                wording.instant(each, "create_time"),
                wording.instant(each, "disable_time"),
            ]
            for each in members
        ],
        empty="There is no staff yet; see `headgate staff bootstrap`.",
    )


def _word(grant: staff_pb2.Grant) -> str:
    role = wording.word(admin_pb2.Role.DESCRIPTOR, grant.role)
    return f"{role}@{grant.org}" if grant.org else role
