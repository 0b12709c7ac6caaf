"""`headgate keys`: who may call."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer

from headgate.api.gateway.v1 import admin_pb2
from headgate.cli import wording
from headgate.cli.config import WrongUse
from headgate.cli.output import Json, say, show_json, show_table
from headgate.cli.session import open_session

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
    admin: Annotated[
        bool, typer.Option("--admin", help="A key of staff: it operates Headgate.")
    ] = False,
    json: Json = False,
) -> None:
    """Creates a key and prints it: it is shown this once and stored nowhere."""
    if admin is bool(org):
        raise WrongUse("give either --org, once or more, or --admin")
    request = admin_pb2.CreateApiKeyRequest(
        name=name, role=admin_pb2.ROLE_ADMIN if admin else admin_pb2.ROLE_BACKEND, orgs=org or []
    )
    # Each repeat would make one more key.
    answer = open_session(context).ask(lambda stub: stub.CreateApiKey, request, repeatable=False)
    if json:
        show_json(answer)
        return
    _show_keys([answer.api_key])
    say("")
    say(answer.secret)
    say("Keep it now: it is not shown again.")


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


def _show_keys(keys: Iterable[admin_pb2.ApiKey]) -> None:
    show_table(
        ["KEY", "NAME", "ROLE", "ORGS", "CREATED", "REVOKED"],
        [
            [
                each.key_id,
                each.name,
                wording.word(admin_pb2.Role.DESCRIPTOR, each.role),
                ", ".join(each.orgs) or "all",
                wording.instant(each, "create_time"),
                wording.instant(each, "revoke_time"),
            ]
            for each in keys
        ],
        empty="There is no key.",
    )
