"""What `up` and its siblings show people."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from local.layout import Layout


def describe(state: Path, layout: Layout, *, with_keys: bool) -> str:
    """The summary of a system that has just come up; the keys only if they are new."""
    lines = ["", "Headgate is up."]
    plans = sorted(layout.plans, key=lambda plan: plan.port)
    lines += [f"  {plan.name:<14} {plan.address}" for plan in plans]
    lines.append(f"  {'http':<14} {', '.join(layout.http_urls())}")
    lines.append(f"  {'logs':<14} {state / 'logs'}")
    lines.append("")
    if with_keys:
        credentials = layout.credentials
        lines += ["These keys are shown once; `make keys` prints them again."]
        lines += describe_keys(credentials.api_keys, credentials.admin_key)
        lines += [
            "With this token somebody becomes the first admin, once:",
            "  .venv/bin/python -m headgate staff bootstrap you@example.com --name You",
            f"  {'token':<14} {credentials.staff_token}",
        ]
    else:
        lines += ["The keys are those of the last time: `make keys`."]
    lines += [
        "",
        "Next, in another terminal: `make demo` drives traffic, `make status` shows what runs.",
        "Ctrl-C stops all of it; the data stay.",
        "",
    ]
    return "\n".join(lines)


def describe_keys(api_keys: Mapping[str, str], admin_key: str) -> list[str]:
    """One line for each key."""
    return [f"  {name:<14} {key}" for name, key in {**api_keys, "admin": admin_key}.items()]
