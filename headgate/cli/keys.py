"""`headgate keys`: who may call."""

from __future__ import annotations

import enum
import time
from collections.abc import Iterable
from typing import Annotated, Final

import typer

from headgate.api.gateway.v1 import admin_pb2
from headgate.cli import wording
from headgate.cli.config import WrongUse
from headgate.cli.output import Json, say, show_json, show_table
from headgate.cli.session import open_session

HOUR_NANOS: Final = 3_600_000_000_000
DAY_NANOS: Final = 24 * HOUR_NANOS


class KeyRole(enum.Enum):
    """A role, as the command line spells it."""

    BACKEND = "backend"
    VIEWER = "viewer"
    EDITOR = "editor"
    ADMIN = "admin"

    @property
    def number(self) -> admin_pb2.Role.ValueType:
        """The contract's number."""
        return admin_pb2.Role.Value(f"ROLE_{self.name}")


app = typer.Typer(name="keys", help="API keys: who may call.", no_args_is_help=True)


@app.command("list")
def list_keys(context: typer.Context, json: Json = False) -> None:
    """Lists all keys, newest first, without their secrets."""
    answer = open_session(context).collect(
        lambda admin: admin.ListApiKeys, admin_pb2.ListApiKeysRequest()
    )
    show_json(answer) if json else _show_keys(answer.api_keys)


@app.command("create")
def create_key(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name for people.")],
    org: Annotated[
        list[str] | None, typer.Option(help="Org that the key may act for; repeat it for more.")
    ] = None,
    *,
    role: Annotated[
        KeyRole, typer.Option(help="What the key may do; backends make calls, others operate.")
    ] = KeyRole.BACKEND,
    admin: Annotated[bool, typer.Option("--admin", help="Short for --role admin.")] = False,
    operation: Annotated[
        list[str] | None,
        typer.Option(help="Operation that a backend may call for; repeat it. Else all."),
    ] = None,
    days: Annotated[
        float | None, typer.Option(min=0, help="Days after which the key ends by itself.")
    ] = None,
    json: Json = False,
) -> None:
    """Creates a key and prints it: it is shown this once and stored nowhere."""
    role = KeyRole.ADMIN if admin else role
    if role is KeyRole.BACKEND and not org:
        raise WrongUse("give either --org, once or more, or another --role")
    request = admin_pb2.CreateApiKeyRequest(
        name=name, role=role.number, orgs=org or [], operations=operation or []
    )
    if days is not None:
        request.expire_time.FromNanoseconds(time.time_ns() + round(days * DAY_NANOS))
    # Each repeat would make one more key.
    answer = open_session(context).ask(lambda stub: stub.CreateApiKey, request, repeatable=False)
    if json:
        show_json(answer)
        return
    _show_keys([answer.api_key])
    _show_secret(answer.secret)


@app.command("rotate")
def rotate_key(
    context: typer.Context,
    key_id: Annotated[str, typer.Argument(help="Public part, such as k_3f9a0c41d2e7.")],
    overlap_hours: Annotated[
        float, typer.Option(min=0, max=720, help="Hours for which the old key still works.")
    ] = 24.0,
    json: Json = False,
) -> None:
    """Makes a key that takes another one's place, and prints it."""
    request = admin_pb2.RotateApiKeyRequest(key_id=key_id)
    request.overlap.FromNanoseconds(round(overlap_hours * HOUR_NANOS))
    # Each repeat would make one more key.
    answer = open_session(context).ask(lambda stub: stub.RotateApiKey, request, repeatable=False)
    if json:
        show_json(answer)
        return
    _show_keys([answer.api_key, answer.replaced])
    _show_secret(answer.secret)


@app.command("revoke")
def revoke_key(
    context: typer.Context,
    key_id: Annotated[str, typer.Argument(help="Public part, such as k_3f9a0c41d2e7.")],
    json: Json = False,
) -> None:
    """Revokes a key, for good."""
    answer = open_session(context).ask(
        lambda admin: admin.RevokeApiKey, admin_pb2.RevokeApiKeyRequest(key_id=key_id)
    )
    show_json(answer) if json else _show_keys([answer.api_key])


def _show_secret(secret: str) -> None:
    say("")
    say(secret)
    say("Keep it now: it is not shown again.")


def _show_keys(keys: Iterable[admin_pb2.ApiKey]) -> None:
    show_table(
        ["KEY", "NAME", "ROLE", "ORGS", "OPERATIONS", "CREATED", "LAST USE", "ENDS", "REVOKED"],
        [
            [
                each.key_id,
                each.name,
                wording.word(admin_pb2.Role.DESCRIPTOR, each.role),
                ", ".join(each.orgs) or "all",
                ", ".join(each.operations) or "all",
                wording.instant(each, "create_time"),
                wording.instant(each, "last_use_time"),
                wording.instant(each, "expire_time"),
                wording.instant(each, "revoke_time"),
            ]
            for each in keys
        ],
        empty="There is no key.",
    )
