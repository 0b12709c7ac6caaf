"""The command `headgate`. Its exit codes: 0 done, 1 refused, 2 wrong use, 3 nobody answered."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer

from headgate.cli import (
    alerts,
    api_usage,
    approvals,
    audit,
    books,
    breakers,
    budgets,
    channels,
    doctor,
    events,
    explain,
    forecasts,
    keys,
    limits,
    orgs,
    prices,
    reprice,
    routes,
    staff,
    statements,
    switch,
    templates,
    toggles,
    usage,
)
from headgate.cli.config import DEFAULT_TARGET, KEY_VARIABLE, Options
from headgate.cli.output import printable
from headgate.cli.policies import commands as policies
from headgate.errors import DeadlineExceeded, Overloaded, RpcError, Unauthenticated, Unavailable

EXIT_REFUSED: Final = 1
EXIT_WRONG_USE: Final = 2
EXIT_NO_ANSWER: Final = 3

app: Final = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Operates Headgate: limits, keys, staff, routes, prices, books, kills, approvals, usage.",
    epilog="Exit codes: 0 done, 1 refused, 2 wrong use, 3 nobody answered (repeat it).",
)
books.app.add_typer(statements.app)
books.app.add_typer(reprice.app)
for _group in (
    limits.app,
    keys.app,
    routes.app,
    templates.app,
    breakers.app,
    toggles.app,
    approvals.app,
    budgets.app,
    prices.app,
    books.app,
    books.export_app,
    forecasts.app,
    alerts.app,
    events.app,
    channels.app,
    staff.app,
    audit.app,
    orgs.app,
):
    app.add_typer(_group)
for _command in (
    switch.status,
    doctor.doctor,
    switch.kill,
    switch.resume,
    limits.counters,
    explain.explain,
    usage.usage,
    api_usage.api_usage,
    forecasts.forecast,
    staff.login,
    staff.logout,
    policies.diff,
    policies.apply,
    policies.verify,
):
    app.command()(_command)


@app.callback()
def _take_options(
    context: typer.Context,
    *,
    target: Annotated[
        str,
        typer.Option(
            envvar="HEADGATE_TARGET",
            metavar="HOST:PORT",
            help=f"The gateway's address, as gRPC writes it, else {DEFAULT_TARGET}.",
        ),
    ] = "",
    key_file: Annotated[
        Path | None,
        typer.Option(help=f"File that holds the admin key, instead of {KEY_VARIABLE}."),
    ] = None,
    state_dir: Annotated[
        Path | None,
        typer.Option(
            envvar="HEADGATE_STATE_DIR",
            help="Folder of a local system, which knows its own address and admin key.",
        ),
    ] = None,
    ca_file: Annotated[
        Path | None,
        typer.Option(
            envvar="HEADGATE_TLS_CA_FILE",
            help="Authorities that sign the gateway's certificate, in PEM.",
        ),
    ] = None,
    insecure: Annotated[
        bool,
        typer.Option("--insecure", help="Send the key in plain text to another machine."),
    ] = False,
    timeout: Annotated[
        float, typer.Option(min=0.1, max=600, metavar="SECONDS", help="Bound of each answer.")
    ] = 10.0,
    why: Annotated[str, typer.Option(help="Why, in your words, for the audit log.")] = "",
) -> None:
    context.obj = Options(
        target=target,
        key_file=key_file,
        state_dir=state_dir,
        ca_file=ca_file,
        insecure=insecure,
        timeout_seconds=timeout,
        reason=why,
    )


def run(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs one command and exits; whatever goes wrong is one line on standard error."""
    sys.exit(_run(arguments))


def _run(arguments: Sequence[str] | None) -> int:
    try:
        code = app(arguments, prog_name="headgate", standalone_mode=False)
    except typer.TyperException as error:
        # Files may be wrong in many places: one line for each.
        first, *others = error.format_message().split("\n")
        code = _complain(first, error.exit_code)
        for each in others:
            print(printable(each), file=sys.stderr)
        return code
    except (Unavailable, DeadlineExceeded, Overloaded) as error:
        return _complain(f"no answer: {error}", EXIT_NO_ANSWER)
    except Unauthenticated as error:
        return _complain(f"{error}; see {KEY_VARIABLE} and --key-file", EXIT_REFUSED)
    except RpcError as error:
        return _complain(str(error), EXIT_REFUSED)
    return int(code or 0)


def _complain(message: str, code: int) -> int:
    if message:
        print(f"headgate: {printable(message)}", file=sys.stderr)
    return code
