"""The example of the package's docstring, run as it stands."""

from __future__ import annotations

from types import SimpleNamespace

import headgate
from headgate.testing import API_KEY, INPUT_NANOS, OUTPUT_NANOS, FakeGateway


async def test_the_example_of_the_docstring_runs(gateway: FakeGateway) -> None:
    # The first block that is set in; promises further down are continued so, too.
    after = (headgate.__doc__ or "").split("\n    ", 1)[1]
    code = "    " + after.split("\n\n", 1)[0]
    asked: list[tuple[str, str, int]] = []

    async def ask_provider(model: str, prompt: str, *, max_tokens: int) -> SimpleNamespace:
        asked.append((model, prompt, max_tokens))
        return SimpleNamespace(input_tokens=880, output_tokens=120)

    names = {
        "headgate": headgate,
        "target": gateway.target,
        "key": API_KEY,
        "prompt": "Sum it up.",
        "ask_provider": ask_provider,
    }
    exec(f"async def example():\n{code}", names)
    await names["example"]()  # type: ignore[operator]

    assert asked == [("gpt-4o-mini", "Sum it up.", 300)]
    assert gateway.ledger.settled_nanos("acme") == 880 * INPUT_NANOS + 120 * OUTPUT_NANOS
    assert gateway.ledger.held_nanos("acme") == 0
