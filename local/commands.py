"""What asks or stops a system that `up` runs: `status`, `keys` and `down`."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any, Final

from local import databases, endpoints
from local.credentials import load_or_make
from local.errors import LocalError
from local.layout import MODULES
from local.readiness import is_ready
from local.summary import describe_keys
from local.supervisor import DRAIN_SECONDS, say
from local.up import SECRETS, end_leftovers, find_supervisor

# Both groups' drain and Postgres' last checkpoint.
STOP_SECONDS: Final = 2 * DRAIN_SECONDS + 45.0


def down(state: Path) -> int:
    """Stops the system, whether its supervisor lives or not; returns the exit code."""
    supervisor = find_supervisor(state)
    process = None if supervisor is None else supervisor.process()
    if supervisor is None or process is None:
        ended = end_leftovers(state)
        stopped = databases.stop_leftover(state)
        endpoints.remove(state)
        say("stopped what was left over" if ended or stopped else "nothing runs")
        return 0
    process.send_signal(signal.SIGTERM)
    if not supervisor.wait_gone(STOP_SECONDS):
        raise LocalError(f"the supervisor (process {process.pid}) does not end")
    say(f"stopped; the data stay in {state}")
    return 0


def keys(state: Path) -> int:
    """Prints the keys; returns the exit code."""
    folder = state / SECRETS
    if not folder.is_dir():
        raise LocalError("there are no keys yet: `make up` makes them")
    credentials = load_or_make(folder, deployables=MODULES)
    print("\n".join(describe_keys(credentials.api_keys, credentials.admin_key)))
    return 0


def status(state: Path, *, as_json: bool) -> int:
    """Shows each process; returns 0 only if all of them are ready."""
    rows = _rows(state) if find_supervisor(state) is not None else []
    all_ready = bool(rows) and all(row["ready"] for row in rows)
    if as_json:
        facts = {"up": all_ready, "state": str(state), "processes": rows}
        print(json.dumps(facts | {"http": _http_urls(state)}, indent=2))
    elif not rows:
        print("Nothing runs here: `make up` starts it.")
    else:
        for row in rows:
            since = time.strftime("%H:%M:%S", time.localtime(row["start_time"]))
            ready = "ready" if row["ready"] else "NOT READY"
            print(f"  {row['name']:<14} {row['address']:<18} {row['pid']:<8} {since}  {ready}")
        print(f"  {'http':<14} {', '.join(_http_urls(state))}")
    return 0 if all_ready else 1


def _http_urls(state: Path) -> list[str]:
    content = endpoints.read(state) or {}
    urls: list[str] = content.get("http", [])
    return urls


def _rows(state: Path) -> list[dict[str, Any]]:
    content = endpoints.read(state) or {}
    identities = endpoints.read_identities(state)
    return [
        {
            "name": name,
            "address": address,
            "pid": identities[name].pid if name in identities else None,
            "start_time": identities[name].start_time if name in identities else 0.0,
            "ready": is_ready(address),
        }
        for name, address in content.get("replicas", {}).items()
    ]
