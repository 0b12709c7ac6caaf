"""The stand-in's own prices, arithmetic and bill file."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Self

PRICES_PATH: Final = Path(__file__).with_name("prices.json")
# Prices are quoted for so many tokens.
QUOTED_TOKEN_COUNT: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What 1,000,000 tokens of each kind cost, in nano-US-dollars."""

    input: int
    cached_input: int
    output: int
    reasoning: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Token counts in the manner of chat completions: the details are parts of the sums."""

    # All input tokens, cached ones included.
    prompt_tokens: int
    # Part of the input that was read from the cache.
    cached_tokens: int
    # All output tokens, reasoning included.
    completion_tokens: int
    # Part of the output that was reasoning.
    reasoning_tokens: int

    def to_json(self) -> dict[str, object]:
        """Renders the `usage` object of a response."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": self.cached_tokens},
            "completion_tokens_details": {"reasoning_tokens": self.reasoning_tokens},
        }


def charge(usage: Usage, price: Price) -> int:
    """Returns the nano-US-dollars due. Each kind of token is rounded by itself, half up."""
    parts = (
        (usage.prompt_tokens - usage.cached_tokens, price.input),
        (usage.cached_tokens, price.cached_input),
        (usage.completion_tokens - usage.reasoning_tokens, price.output),
        (usage.reasoning_tokens, price.reasoning),
    )
    nanos = 0
    for count, quoted in parts:
        whole, rest = divmod(count * quoted, QUOTED_TOKEN_COUNT)
        nanos += whole + (1 if 2 * rest >= QUOTED_TOKEN_COUNT else 0)
    return nanos


@functools.cache
def load_prices(path: Path = PRICES_PATH) -> Mapping[tuple[str, str], Price]:
    """Reads the price file, by (provider, model)."""
    models = json.loads(path.read_text(encoding="utf-8"))["models"]
    return {
        (entry["provider"], entry["model"]): Price(
            input=entry["input"],
            cached_input=entry["cached_input"],
            output=entry["output"],
            reasoning=entry["reasoning"],
        )
        for entry in models
    }


class Bill:
    """An append-only file of charged calls, one JSON object a line.

    Each line is one write to a file opened for appending: a killed process leaves whole lines. It
    is not synced to the disk; a bill is the demo's yardstick, not a ledger.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.call_count = 0
        self.total_nanos = 0

    def add(
        self, *, call_id: str, provider: str, model: str, usage: Usage, nanos: int, ended: str
    ) -> None:
        """Writes one charged call. `ended` is "full", or "cut" if the client went away."""
        line = {
            "id": call_id,
            "provider": provider,
            "model": model,
            **asdict(usage),
            "nanos": nanos,
            "ended": ended,
        }
        os.write(self._file, json.dumps(line).encode() + b"\n")
        self.call_count += 1
        self.total_nanos += nanos

    def close(self) -> None:
        """Closes the file."""
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
