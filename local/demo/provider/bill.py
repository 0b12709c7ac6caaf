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
# Prices are quoted for so many units.
QUOTED_COUNT: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What 1,000,000 units of each kind cost, in nano-US-dollars."""

    input: int = 0
    cached_input: int = 0
    output: int = 0
    reasoning: int = 0
    # Input written to a cache that lives minutes, and to one that lives an hour.
    written_input: int = 0
    kept_input: int = 0
    image_output: int = 0
    character: int = 0
    audio_ms: int = 0
    image: int = 0
    search: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Counts in the manner of chat completions: the details of tokens are parts of the sums."""

    # All input tokens, cached ones included.
    prompt_tokens: int = 0
    # Parts of the input: read from the cache, written to it for minutes, and for an hour.
    cached_tokens: int = 0
    written_tokens: int = 0
    kept_tokens: int = 0
    # All output tokens, reasoning and images included.
    completion_tokens: int = 0
    # Parts of the output.
    reasoning_tokens: int = 0
    image_tokens: int = 0
    # What is charged by other units than tokens.
    characters: int = 0
    audio_ms: int = 0
    images: int = 0
    searches: int = 0

    def to_line(self) -> dict[str, int]:
        """Returns the counts for the bill: the usual ones, and what else there is."""
        usual = ("prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens")
        return {name: each for name, each in asdict(self).items() if each or name in usual}


def charge(usage: Usage, price: Price) -> int:
    """Returns the nano-US-dollars due. Each kind of unit is rounded by itself, half up."""
    fresh = usage.prompt_tokens - usage.cached_tokens - usage.written_tokens - usage.kept_tokens
    parts = (
        (fresh, price.input),
        (usage.cached_tokens, price.cached_input),
        (usage.written_tokens, price.written_input),
        (usage.kept_tokens, price.kept_input),
        (usage.completion_tokens - usage.reasoning_tokens - usage.image_tokens, price.output),
        (usage.reasoning_tokens, price.reasoning),
        (usage.image_tokens, price.image_output),
        (usage.characters, price.character),
        (usage.audio_ms, price.audio_ms),
        (usage.images, price.image),
        (usage.searches, price.search),
    )
    nanos = 0
    for count, quoted in parts:
        whole, rest = divmod(count * quoted, QUOTED_COUNT)
        nanos += whole + (1 if 2 * rest >= QUOTED_COUNT else 0)
    return nanos


@functools.cache
def load_prices(path: Path = PRICES_PATH) -> Mapping[tuple[str, str], Price]:
    """Reads the price file, by (provider, model)."""
    models = json.loads(path.read_text(encoding="utf-8"))["models"]
    return {
        (entry["provider"], entry["model"]): Price(
            **{name: quoted for name, quoted in entry.items() if name not in ("provider", "model")}
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
            **usage.to_line(),
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
