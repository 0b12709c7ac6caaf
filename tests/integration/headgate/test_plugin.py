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
    import headgate


    @headgate.governed("summarize", on_refused="fallback", max_output_tokens=10)
    def summarize(call: headgate.SyncCall, text: str) -> str:
        call.report(output_tokens=4)
        return "a summary"


    def chat(key: str) -> str:
        with headgate.SyncClient("gateway.example:443", api_key=key) as client:
            with client.call("chat") as call:
                call.report(output_tokens=1)
                return call.model


    def test_a_call_is_booked(headgate_gateway):
        assert summarize("text") == "a summary"
        assert headgate_gateway.ledger.settled_nanos("acme") == 16_000


    def test_a_denied_call_shows_the_fallback_text(headgate_gateway):
        assert headgate_gateway.ledger.settled_nanos("acme") == 0
        headgate_gateway.ledger.cap_nanos = 0
        assert summarize("text") == "Please try again later."


    def test_every_client_speaks_to_the_fake(headgate_gateway):
        assert chat("hg_k7_some-other-key") == "gpt-4o-mini"
        assert headgate_gateway.rpcs == [("AdmitCall", 1), ("CompleteCall", 1)]
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
    assert "3 passed" in result.stdout


def test_the_entry_point_leads_to_the_fixture() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    (value,) = project["entry-points"]["pytest11"].values()
    plugin = EntryPoint("headgate", value, "pytest11").load()

    assert isinstance(plugin.headgate_gateway, FixtureFunctionDefinition)
