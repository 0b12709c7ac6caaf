"""`headgate doctor`: what is wrong, as the gateway tells it, and what to do about it.

What only a service's own machine can see, its `doctor` tells there: docs/operations.md.
"""

from __future__ import annotations

import json as json_text
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import typer

from headgate.api.common.v1 import health_pb2
from headgate.api.gateway.v1 import admin_pb2, gateway_pb2
from headgate.cli.output import Json, say, show_table
from headgate.cli.session import open_session


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found; an empty remedy means that nothing is wrong."""

    check: str
    found: str
    remedy: str = ""


def doctor(context: typer.Context, json: Json = False) -> None:
    """Says what is wrong and what to do about it; the exit code is 1 if anything is.

    Asks the gateway. What only a machine of its own can see, `python -m services.X doctor` tells.
    """
    session = open_session(context)
    findings = [Finding("gateway", "answers"), *examine(session.get_status())]
    audit = session.ask(
        lambda stub: stub.ListAuditEntries, admin_pb2.ListAuditEntriesRequest(page_size=1)
    )
    findings.append(Finding("admin key", f"reads the audit log ({len(audit.entries)} shown)"))
    wrong = [each for each in findings if each.remedy]
    if json:
        print(json_text.dumps({"findings": [asdict(each) for each in findings]}, indent=2))
    else:
        rows = [
            ("WRONG" if each.remedy else "ok", each.check, each.found, each.remedy)
            for each in findings
        ]
        show_table(("", "check", "found", "what to do"), rows, empty="")
        say(f"{len(wrong)} of {len(findings)} checks found something wrong.")
    if wrong:
        raise typer.Exit(1)


def examine(status: gateway_pb2.GetStatusResponse) -> Iterator[Finding]:
    """Reads a gateway's status as a doctor does."""
    yield Finding(
        "health",
        "is not heard: what follows may be old" if status.stale else "is heard",
        "look whether health runs, and reaches its database" if status.stale else "",
    )
    yield _stops(status)
    down = ", ".join(status.down_providers)
    yield Finding(
        "providers",
        f"answer nobody: {down}" if down else f"{len(status.providers)} known, none is down",
        "see `headgate status`; breakers close by themselves" if down else "",
    )
    refused = sorted(
        f"{each.provider} {each.credential}"
        for each in status.parts
        if each.HasField("refuse_time")
    )
    yield Finding(
        "credentials",
        f"refused: {', '.join(refused)}" if refused else "none is refused",
        "renew the secret or the quota at the provider" if refused else "",
    )


def _stops(status: gateway_pb2.GetStatusResponse) -> Finding:
    pending = [
        each.kill_id
        for each in status.kills
        if each.state in (health_pb2.KILL_STATE_INTENDED, health_pb2.KILL_STATE_RESUMING)
    ]
    if pending:
        found = f"wait for admission: {', '.join(pending)}"
        return Finding("stops", found, "look whether admission runs, and reaches its database")
    if status.kills:
        found = f"in force: {', '.join(each.kill_id for each in status.kills)}"
        return Finding("stops", found, "lift them with `headgate resume` when it is time")
    return Finding("stops", "none")
