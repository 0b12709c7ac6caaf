"""What the stand-in generates for a request: how many tokens, how fast, and which fault.

Everything is drawn from the seed and the call's id, so a run can be repeated whatever the order in
which calls arrive.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from local.demo.provider.bill import Usage

# A stream is sent in at most so many pieces: a demo needs no packet for each token.
PIECE_COUNT_MAX: Final = 12
OUTPUT_TOKENS_MAX: Final = 100_000
# Of one call at speed 1: seconds before the first token, for each input and each output token.
FIRST_TOKEN_SECONDS: Final = 0.35
INPUT_TOKEN_SECONDS: Final = 0.000_15
OUTPUT_TOKEN_SECONDS: Final = 0.012
# Spread of the latency: the standard deviation of its logarithm.
LATENCY_SIGMA: Final = 0.3
# How faults are shared out, if one is drawn. The rest are broken streams.
FAULT_SHARES: Final = (("500", 0.45), ("429", 0.25), ("400", 0.10))
CACHE_HIT_SHARE: Final = 0.35
REASONING_SHARE: Final = 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """What the stand-in looks at in a request, whichever interface it came by."""

    model: str
    prompt_tokens: int
    # Bound of the output, reasoning included.
    max_tokens: int
    stream: bool
    # The stream shall tell its usage.
    include_usage: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One call's course, fixed before it starts."""

    usage: Usage
    # Seconds before the first token, and of the whole call.
    first_token_seconds: float
    seconds: float
    # "500", "429", "400", "reset" (the stream breaks midway), "garbage" (the usage that is told is
    # nonsense), or None.
    fault: str | None
    # True if the bound ended the output.
    truncated: bool
    # What a 429 asks for.
    retry_after_seconds: int = 1

    def token_count_after(self, seconds: float) -> int:
        """Returns how many output tokens exist so long after the start."""
        if seconds >= self.seconds:
            return self.usage.completion_tokens
        share = (seconds - self.first_token_seconds) / (self.seconds - self.first_token_seconds)
        return math.floor(self.usage.completion_tokens * min(max(share, 0.0), 1.0))

    def usage_at(self, token_count: int) -> Usage:
        """Returns the usage of a call cut after so many output tokens. Reasoning comes first."""
        return replace(
            self.usage,
            completion_tokens=token_count,
            reasoning_tokens=min(token_count, self.usage.reasoning_tokens),
        )


def generate(
    request: ChatRequest, *, call_id: str, seed: int, speed: float, error_rate: float,
    headers: Mapping[str, str],
) -> Generation:  # fmt: skip
    """Draws one call's course.

    The headers `x-stand-in-output-tokens`, `-written-tokens`, `-kept-tokens`, `-searches` and
    `-fault` decide parts of it.
    """
    chance = random.Random(f"{seed}:{call_id}")
    wanted = chance.lognormvariate(math.log(130), 0.8)
    cache_share = chance.uniform(0.2, 0.9) if chance.random() < CACHE_HIT_SHARE else 0.0
    reasons = chance.random() < REASONING_SHARE
    reasoning_share = chance.uniform(0.1, 0.5) if reasons else 0.0
    slowness = chance.lognormvariate(0.0, LATENCY_SIGMA) / speed
    fault = _draw_fault(chance, error_rate, request.stream)

    output = int(headers.get("x-stand-in-output-tokens", math.ceil(wanted)))
    cached = math.floor(request.prompt_tokens * cache_share)
    written = min(int(headers.get("x-stand-in-written-tokens", 0)), request.prompt_tokens - cached)
    kept = int(headers.get("x-stand-in-kept-tokens", 0))
    completion = min(max(output, 1), request.max_tokens)
    first = (FIRST_TOKEN_SECONDS + request.prompt_tokens * INPUT_TOKEN_SECONDS) * slowness
    return Generation(
        usage=Usage(
            prompt_tokens=request.prompt_tokens,
            cached_tokens=cached,
            written_tokens=written,
            kept_tokens=min(kept, request.prompt_tokens - cached - written),
            searches=int(headers.get("x-stand-in-searches", 0)),
            completion_tokens=completion,
            reasoning_tokens=math.floor(completion * reasoning_share),
        ),
        first_token_seconds=first,
        seconds=first + completion * OUTPUT_TOKEN_SECONDS * slowness,
        fault=headers.get("x-stand-in-fault", fault),
        truncated=output > request.max_tokens,
    )


def _draw_fault(chance: random.Random, error_rate: float, stream: bool) -> str | None:
    drawn, share = chance.random() < error_rate, chance.random()
    if not drawn:
        return None
    for fault, width in FAULT_SHARES:
        if share < width:
            return fault
        share -= width
    return "reset" if stream else "500"
