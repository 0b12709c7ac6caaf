"""What pytest finds of ours in a backend's own project: tried in a pytest of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

from _pytest.fixtures import FixtureFunctionDefinition

import headgate

CHECKOUT = Path(headgate.__file__).parents[1]
BACKEND = """
    import asyncio

    import headgate


    async def summarize(client: headgate.Client) -> str:
        try:
            async with client.call("summarize", max_output_tokens=10) as call:
                call.report(output_tokens=4)
                return "a summary"
        except headgate.Denied as denied:
            return denied.fallback_text


    def run(gateway) -> str:
        async def main() -> str:
            async with gateway.client() as client:
                return await summarize(client)

        return asyncio.run(main())


    def test_a_call_is_booked(headgate_gateway):
        assert run(headgate_gateway) == "a summary"
        assert headgate_gateway.ledger.settled_nanos("acme") == 16_000


    def test_a_denied_call_shows_the_fallback_text(headgate_gateway):
        assert headgate_gateway.ledger.settled_nanos("acme") == 0
        headgate_gateway.ledger.cap_nanos = 0
        assert run(headgate_gateway) == "Please try again later."
"""


def test_a_backends_tests_get_a_gateway_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "test_backend.py").write_text(textwrap.dedent(BACKEND))
    plugin = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["entry-points"]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", plugin["pytest11"]["headgate"], tmp_path],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(CHECKOUT),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 0, result.stdout + result.stderr
    assert "2 passed" in result.stdout


def test_the_entry_point_leads_to_the_fixture() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    (value,) = project["entry-points"]["pytest11"].values()
    plugin = EntryPoint("headgate", value, "pytest11").load()

    assert isinstance(plugin.headgate_gateway, FixtureFunctionDefinition)
