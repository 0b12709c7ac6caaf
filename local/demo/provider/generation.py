"""What the stand-in generates for a request: how many tokens, how fast, and which fault.

Everything is drawn from the seed and the call's id, so a run can be repeated whatever the order in
which calls arrive.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
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


class BadRequestError(Exception):
    """The request is not one that a chat completion endpoint takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """The fields of a chat completion that the stand-in looks at."""

    model: str
    prompt_tokens: int
    # Bound of the output, reasoning included.
    max_tokens: int
    stream: bool
    include_usage: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One call's course, fixed before it starts."""

    usage: Usage
    # Seconds before the first token, and of the whole call.
    first_token_seconds: float
    seconds: float
    # "500", "429", "400", "reset" (the stream breaks midway), or None.
    fault: str | None
    # True if the bound ended the output.
    truncated: bool

    def token_count_after(self, seconds: float) -> int:
        """Returns how many output tokens exist so long after the start."""
        if seconds >= self.seconds:
            return self.usage.completion_tokens
        share = (seconds - self.first_token_seconds) / (self.seconds - self.first_token_seconds)
        return math.floor(self.usage.completion_tokens * min(max(share, 0.0), 1.0))

    def usage_at(self, token_count: int) -> Usage:
        """Returns the usage of a call cut after so many output tokens. Reasoning comes first."""
        return Usage(
            prompt_tokens=self.usage.prompt_tokens,
            cached_tokens=self.usage.cached_tokens,
            completion_tokens=token_count,
            reasoning_tokens=min(token_count, self.usage.reasoning_tokens),
        )


def parse(body: object) -> ChatRequest:
    """Reads a chat completion request; raises BadRequestError with what is wrong."""
    if not isinstance(body, dict):
        raise BadRequestError("the body must be a JSON object")
    model, messages = body.get("model"), body.get("messages")
    if not isinstance(model, str):
        raise BadRequestError("model must be a string")
    if not isinstance(messages, list) or not messages:
        raise BadRequestError("messages must be a list with at least one message")
    max_tokens = body.get("max_completion_tokens", body.get("max_tokens", OUTPUT_TOKENS_MAX))
    if type(max_tokens) is not int or not 1 <= max_tokens <= OUTPUT_TOKENS_MAX:
        raise BadRequestError(f"max_tokens must be an integer from 1 to {OUTPUT_TOKENS_MAX}")
    options = body.get("stream_options") or {}
    return ChatRequest(
        model=model,
        prompt_tokens=sum(_count_tokens(message) for message in messages),
        max_tokens=max_tokens,
        stream=body.get("stream") is True,
        include_usage=isinstance(options, dict) and options.get("include_usage") is True,
    )


def generate(
    request: ChatRequest, *, call_id: str, seed: int, speed: float, error_rate: float,
    headers: Mapping[str, str],
) -> Generation:  # fmt: skip
    """Draws one call's course. `x-stand-in-output-tokens` and `x-stand-in-fault` decide it."""
    chance = random.Random(f"{seed}:{call_id}")
    wanted = chance.lognormvariate(math.log(130), 0.8)
    cache_share = chance.uniform(0.2, 0.9) if chance.random() < CACHE_HIT_SHARE else 0.0
    reasons = chance.random() < REASONING_SHARE
    reasoning_share = chance.uniform(0.1, 0.5) if reasons else 0.0
    slowness = chance.lognormvariate(0.0, LATENCY_SIGMA) / speed
    fault = _draw_fault(chance, error_rate, request.stream)

    output = int(headers.get("x-stand-in-output-tokens", math.ceil(wanted)))
    completion = min(max(output, 1), request.max_tokens)
    first = (FIRST_TOKEN_SECONDS + request.prompt_tokens * INPUT_TOKEN_SECONDS) * slowness
    return Generation(
        usage=Usage(
            prompt_tokens=request.prompt_tokens,
            cached_tokens=math.floor(request.prompt_tokens * cache_share),
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


def _count_tokens(message: object) -> int:
    """Counts words: a tokenizer that both sides can agree on without a vocabulary."""
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(content, str):
        raise BadRequestError("messages[].content must be a string")
    return len(content.split())
