"""Policies as files by the command line, against real gateways."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.integration.gateway.system import ADMIN_KEY, System
from tests.integration.headgate.commands import Commands
from tests.integration.headgate.real import running_system

ALL = """\
apiVersion: headgate/v1
orgs:
  - {id: acme, owner: Ada, contacts: ["#acme"], discount: 12.5, time_zone: Asia/Tokyo}
limits:
  - {id: acme-monthly, scope: {org: acme}, metric: cost, cap: 250.5, per: month, start_day: 15}
  - {id: burst, scope: {org: "*", label.ticket: "*"}, metric: calls, cap: 100, refill: 100/1m}
  - {id: open, metric: concurrency, cap: 64, mode: shadow, owner: "ops: yes"}
toggles:
  - id: ai-generation
    description: Calls to AI models are admitted.
    enabled: true
    rules:
      - {org: acme, operation: chat, enabled: false}
prices:
  - {provider: ours, model: small, meters: {input: 0.15, output: {usd: 0.6, above: {200000: 0.9}}}}
  - {operation: draw, org: acme, flat: 0.04}
templates:
  - {id: sorry, default_locale: en, texts: {en: "Later.\\nOr not: {{ message }}", de-at: Später.}}
routes:
  - operation: draft
    candidates: [ours/small: 9, openai/gpt-4o-mini: 1]
    fallback_template: sorry
channels:
  - {id: oncall, org: acme, kind: webhook, url: {env: ONCALL_URL}, quiet: "22:00-07:00"}
"""

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(postgres_url: str, pytestconfig: pytest.Config) -> AsyncIterator[System]:
    async with running_system(postgres_url, pytestconfig) as running:
        yield running


@pytest.fixture
def command(system: System, monkeypatch: pytest.MonkeyPatch) -> Commands:
    monkeypatch.setenv("HEADGATE_ADMIN_KEY", ADMIN_KEY)
    return Commands(system.addresses["gateway"])


@pytest_asyncio.fixture(loop_scope="module")
async def elsewhere(postgres_url: str, pytestconfig: pytest.Config) -> AsyncIterator[Commands]:
    """Another system, where nobody has written anything yet."""
    async with running_system(postgres_url, pytestconfig) as running:
        yield Commands(running.addresses["gateway"])


async def write(file: Path, *lines: str) -> str:
    """Writes a document of these lines, and returns its path."""
    await asyncio.to_thread(file.write_text, "\n".join(["apiVersion: headgate/v1", *lines]))
    return str(file)


async def changes(command: Commands, *arguments: str) -> list[tuple[str, str]]:
    """What differs, extras aside."""
    found = await command("diff", *arguments, "--json")
    assert not found.err
    told: list[dict[str, Any]] = json.loads(found.out)["changes"]
    return [
        (each["change"], f"{each['kind']}/{each['key']}")
        for each in told
        if each["change"] != "extra"
    ]


async def test_policies_are_tried_applied_exported_and_applied_again_elsewhere(
    command: Commands, elsewhere: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (file := tmp_path / "policy.yaml").write_text(ALL)
    unset = await command("apply", "-f", str(file))
    monkeypatch.setenv("ONCALL_URL", "https://127.0.0.1/hook?secret")
    before = await command("export")
    tried = await command("apply", "-f", str(file), "--dry-run")
    untouched = await command("export")
    applied = await command("--why", "reviewed", "apply", "-f", str(file))
    again = await command("apply", "-f", str(file))
    exported = await command("export")

    assert unset.code == 1
    assert "channels[0]: url: a new channel needs it: set ONCALL_URL" in unset.err
    assert tried.code == 0, tried.err
    assert before.out == untouched.out
    assert applied.code == 0, applied.err
    assert "limits: 3 written, 0 deleted" in applied.out
    assert "The secret of channel oncall, shown once: whsec_" in applied.out
    assert "written" not in again.out
    assert "secret" not in exported.out
    assert "url:\n      env: HEADGATE_CHANNEL_ONCALL_ACME" in exported.out
    assert "flat: 0.04" in exported.out
    assert "cap: 250.5" in exported.out

    (whole := tmp_path / "whole.yaml").write_text(exported.out)
    monkeypatch.setenv("HEADGATE_CHANNEL_ONCALL_ACME", "https://127.0.0.1/hook?other")
    assert await changes(command, "-f", str(whole)) == []
    done = await elsewhere("apply", "-f", str(whole), "--prune")
    assert done.code == 0, done.err
    assert (await elsewhere("export")).out == exported.out


async def test_what_a_service_refuses_is_told_with_its_line_and_nothing_is_changed(
    command: Commands, tmp_path: Path
) -> None:
    before = await command("export")
    path = await write(
        tmp_path / "half.yaml",
        "limits:",
        "  - {id: fine, metric: calls, cap: 10, per: day}",
        "  - {id: worse, metric: calls, cap: 10, per: day, time_zone: Mars/Base}",
        "toggles:",
        "  - {id: fail-closed, enabled: false}",
        "routes:",
        "  - {operation: nowhere, candidates: [nobody/model]}",
    )
    refused = await command("apply", "-f", path)

    assert refused.code == 1
    place = f"headgate: {path}:4: limits[1].calendar.time_zone: send an IANA name"
    assert refused.err.startswith(place)
    assert "toggles: TOGGLE_LOCKED: fail-closed is a guardrail" in refused.err
    assert f"{path}:8: routes[0].candidates[0]: nobody/model has no price" in refused.err
    assert refused.err.endswith("nothing was changed\n")
    assert (await command("export")).out == before.out


async def test_a_suspended_org_stays_so_whatever_files_say_of_it(
    command: Commands, tmp_path: Path
) -> None:
    path = await write(tmp_path / "orgs.yaml", "orgs:", "  - {id: held, time_zone: Mars/Base}")
    refused = await command("apply", "-f", path)
    await command("orgs", "set", "held", "--create")
    await command("orgs", "suspend", "held", "--reason", "unpaid")
    path = await write(tmp_path / "orgs.yaml", "orgs:", "  - {id: held, owner: Ada}")
    applied = await command("apply", "-f", path, "--prune")
    (held,) = (await command("orgs", "show", "held")).rows()

    assert refused.err.startswith(f"headgate: {path}:3: orgs[0].time_zone: send an IANA name")
    assert applied.code == 0, applied.err
    assert (held[4], held[-1]) == ("Ada", "suspended: unpaid")


async def test_drift_is_shown_and_pruned_only_if_it_is_asked_for(
    command: Commands, tmp_path: Path
) -> None:
    scope = ("--org", "drift", "--per", "day")
    await command("limits", "set", "drift-a", "--metric", "calls", "--cap", "5", *scope)
    await command("limits", "set", "drift-b", "--metric", "tokens", "--cap", "7", *scope)
    kept = await command("export", "--kind", "limits")
    (all_limits := tmp_path / "limits.yaml").write_text(kept.out)
    same = await command("diff", "-f", str(all_limits))
    text = kept.out.replace("cap: 7", "cap: 8").replace("drift-a", "drift-aa")
    all_limits.write_text(text)
    differs = await command("diff", "-f", str(all_limits))
    clash = await command("apply", "-f", str(all_limits))
    pruned = await command("apply", "-f", str(all_limits), "--prune")
    now = await command("export", "--kind", "limits")

    assert same.code == 0
    assert same.out == "What is in force is what the files say.\n"
    assert differs.code == 1
    assert "~ limits/drift-b\n    - cap: 7\n    + cap: 8\n" in differs.out
    assert "? limits/drift-a   (in force, in no file)" in differs.out
    # Without --prune the old one stays, and has this pattern.
    assert "limits: LIMIT_EXISTS: " in clash.err
    assert pruned.code == 0, pruned.err
    assert "limits: 2 written, 1 deleted" in pruned.out
    assert now.out == text


async def test_an_empty_or_partial_file_deletes_nothing(command: Commands, tmp_path: Path) -> None:
    before = await command("export")
    path = await write(tmp_path / "empty.yaml", "limits: []")
    refused = await command("apply", "-f", path, "--prune")
    kept = await command("apply", "-f", path)
    path = await write(tmp_path / "none.yaml")
    nothing = await command("apply", "-f", path, "--prune")

    assert refused.code == 1
    assert "--prune: no file names any of limits: all of them would go" in refused.err
    assert (kept.code, nothing.code) == (0, 0)
    assert (await command("export")).out == before.out


async def test_limits_swap_their_patterns_in_one_step(command: Commands, tmp_path: Path) -> None:
    def lines(first: str, second: str) -> tuple[str, ...]:
        return (
            "limits:",
            f"  - {{id: swap-a, scope: {{org: {first}}}, metric: calls, cap: 1, per: day}}",
            f"  - {{id: swap-b, scope: {{org: {second}}}, metric: calls, cap: 2, per: day}}",
        )

    path = await write(tmp_path / "swap.yaml", *lines("left", "right"))
    await command("apply", "-f", path)
    path = await write(tmp_path / "swap.yaml", *lines("right", "left"))
    swapped = await command("apply", "-f", path)

    assert swapped.code == 0, swapped.err
    assert await changes(command, "-f", path) == []


async def test_a_set_leaves_one_audit_entry_and_a_trial_none(
    command: Commands, system: System, tmp_path: Path
) -> None:
    count = "SELECT count(*) FROM audit_entry"
    path = await write(
        tmp_path / "one.yaml",
        "limits:",
        "  - {id: audited-a, scope: {org: audited}, metric: calls, cap: 1, per: day}",
        "  - {id: audited-b, scope: {org: audited}, metric: tokens, cap: 2, per: day}",
    )
    ((before,),) = await system.fetch("gateway", count)
    await command("apply", "-f", path, "--dry-run")
    ((tried,),) = await system.fetch("gateway", count)
    assert len(await changes(command, "-f", path)) == 2
    await command("--why", "a review", "apply", "-f", path)
    ((after,),) = await system.fetch("gateway", count)
    (entry,) = (await command("audit", "list", "--last", "1", "--json")).json()["entries"]

    assert (tried, after) == (before, before + 1)
    assert (entry["action"], entry["target"], entry["reason"]) == (
        "ApplyLimits",
        "limits/2",
        "a review",
    )
    assert entry["state"] == "AUDIT_STATE_DONE"
