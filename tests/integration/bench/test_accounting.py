"""The bench of the books fills a small log, and measures what it says."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.postgres import CHECKOUT

QUERIES = ("query-30d-platform", "query-30d-org", "query-30d-raw", "query-30d-raw-org")


def test_a_small_log_is_made_and_measured() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "bench.accounting", "--json", "--calls", "3100", "--days", "31"],
        cwd=CHECKOUT, capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip

    assert run.returncode == 0, run.stderr[-2000:]
    figures = json.loads(run.stdout)
    assert all(figures[name]["p95 ms"] >= figures[name]["ms"] > 0 for name in QUERIES)
    assert figures["query-30d-org"]["like ratio"] > 0
    assert figures["record-batch-128"]["calls/s"] > 0
    assert figures["record-batch-128 Postgres"]["us"] > 0
    assert figures["bytes-per-call"]["bytes"] > 0
