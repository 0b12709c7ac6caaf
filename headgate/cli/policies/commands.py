"""`headgate export`, `diff`, `apply` and `verify`: policies as files."""

from __future__ import annotations

import json as json_module
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headgate.cli.books import export_app
from headgate.cli.config import Options, WrongUse
from headgate.cli.output import Json, say
from headgate.cli.policies import locks
from headgate.cli.policies.applying import Step, make_steps, secrets_of
from headgate.cli.policies.documents import BadPolicyError
from headgate.cli.policies.plans import Extra, Plan, Write, make_plan
from headgate.cli.policies.sets import KINDS, PolicySet, find_files, read_policies
from headgate.cli.policies.writing import write_policies
from headgate.cli.session import Session, open_session
from headgate.errors import RpcError

if TYPE_CHECKING:
    from collections.abc import Iterable

EXIT_DIFFERS = 1

_Files = Annotated[
    list[Path],
    typer.Option(
        "--file", "-f", help="File or folder of policies; - is standard input. Repeat it for more."
    ),
]
_Lock = Annotated[Path, typer.Option(help="The lock file.")]


@export_app.callback(invoke_without_command=True)
def export(
    context: typer.Context,
    kind: Annotated[
        list[str] | None,
        typer.Option(help=f"Only this kind; repeat it. One of {', '.join(KINDS)}."),
    ] = None,
) -> None:
    """Prints the policies in force as a file that `apply` takes; secrets stay where they are."""
    if context.invoked_subcommand is not None:
        return
    unknown = sorted(set(kind or ()) - set(KINDS))
    if unknown:
        raise WrongUse(f"--kind: {unknown[0]!r} is none of {', '.join(KINDS)}")
    session = open_session(context)
    sections = {
        name: [
            (each.export or each.write)(message)
            for message in sorted(each.fetch(session), key=each.key)
        ]
        for name, each in KINDS.items()
        if name in (kind or KINDS)
    }
    sys.stdout.write(write_policies(sections))


def diff(context: typer.Context, file: _Files, json: Json = False) -> None:
    """Shows where what is in force is not what files say; exits with 1 if it is not.

    What no file names is shown too, of kinds that a file has a section of.
    """
    plan = make_plan(open_session(context), read_policies(file))
    _show_json(plan, applied=False) if json else _show(plan)
    if plan:
        raise typer.Exit(EXIT_DIFFERS)


def apply(
    context: typer.Context,
    file: _Files,
    *,
    prune: Annotated[
        bool,
        typer.Option("--prune", help="Delete what no file names, of kinds that a file names."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Find out whether it could be done, and stop.")
    ] = False,
    json: Json = False,
) -> None:
    """Makes what is in force what files say: all is checked first, then each service does its
    part as a whole. Interrupted, it goes on where it was when it is repeated.
    """
    wanted = read_policies(file)
    if prune:
        _check_prune(wanted)
    session = open_session(context)
    plan = make_plan(session, wanted)
    options: Options = context.obj
    steps = make_steps(plan, prune=prune, reason=options.reason or "a file of policies")
    _try(session, steps)
    if not json:
        _show(plan, kept=not prune)
    secrets = [] if dry_run else _run(session, steps, quiet=json)
    if json:
        _show_json(plan, applied=not dry_run, secrets=secrets)


def verify(
    file: Annotated[
        list[Path] | None, typer.Argument(help="Files or folders; else those of the lock file.")
    ] = None,
    *,
    lock: _Lock = Path(locks.LOCK_NAME),
    write: Annotated[
        bool, typer.Option("--write", help="Write the lock file, after a review.")
    ] = False,
) -> None:
    """Checks files without a gateway: that they can be read, and are what the lock file says."""
    files = find_files(file) if file else locks.locked_files(lock)
    read_policies(files)
    if write:
        locks.write_lock(lock, files)
    wrong = locks.check_lock(lock, files)
    if wrong:
        raise BadPolicyError("\n".join(wrong))
    say(f"{len(files)} files are as {lock} says.")


def _check_prune(wanted: PolicySet) -> None:
    for name, members in wanted.members.items():
        if not members:
            raise BadPolicyError(f"--prune: no file names any of {name}: all of them would go")


def _try(session: Session, steps: Iterable[Step]) -> None:
    wrong: list[str] = []
    for step in steps:
        try:
            step.run(session, try_only=True)
        except RpcError as error:
            if error.code in ("UNAVAILABLE", "DEADLINE_EXCEEDED"):
                raise
            wrong += step.complain(error)
    if wrong:
        raise BadPolicyError("\n".join([*wrong, "nothing was changed"]))


def _run(session: Session, steps: Iterable[Step], *, quiet: bool) -> list[dict[str, str]]:
    secrets: list[dict[str, str]] = []
    for step in steps:
        answer = step.run(session, try_only=False)
        for each in secrets_of(answer):
            channel = each.channel
            place = {"channel": channel.channel_id, "org": channel.org}
            secrets.append({**place, "secret": each.secret})
        if not quiet:
            written, deleted = len(step.writes), len(step.extras)
            say(f"{' and '.join(step.names)}: {written} written, {deleted} deleted")
    for told in () if quiet else secrets:
        say(f"The secret of channel {told['channel']}, shown once: {told['secret']}")
    return secrets


def _show(plan: Plan, *, kept: bool = True) -> None:
    for write in plan.writes:
        say(f"{'+' if write.is_new else '~'} {write.member.kind.name}/{write.member.key}")
        for name, (before, after) in write.fields.items():
            if before is not None:
                say(f"    - {name}: {_word(before)}")
            if after is not None:
                say(f"    + {name}: {_word(after)}")
    for extra in plan.extras:
        goes = not kept and extra.kind.may_go(extra.message)
        fate = "" if goes else "   (in force, in no file)"
        say(f"{'-' if goes else '?'} {extra.kind.name}/{extra.key}{fate}")
    if not plan:
        say("What is in force is what the files say.")


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json_module.dumps(value, ensure_ascii=False)


def _show_json(plan: Plan, *, applied: bool, secrets: list[dict[str, str]] | None = None) -> None:
    changes = [*map(_describe, plan.writes), *map(_describe, plan.extras)]
    facts: dict[str, Any] = {"changes": changes, "applied": applied}
    if secrets:
        facts["secrets"] = secrets
    print(json_module.dumps(facts, indent=2, ensure_ascii=False))


def _describe(each: Write | Extra) -> dict[str, Any]:
    if isinstance(each, Extra):
        return {"change": "extra", "kind": each.kind.name, "key": each.key, "fields": {}}
    fields = {
        name: {"before": before, "after": after} for name, (before, after) in each.fields.items()
    }
    change = "create" if each.is_new else "update"
    kind = each.member.kind.name
    return {"change": change, "kind": kind, "key": each.member.key, "fields": fields}
