"""What DeepSeek's usage objects say."""

from __future__ import annotations

from headgate.usage.counts import Meters, count, meters, rest, tolerant


@tolerant
def chat(usage: object) -> Meters:
    """Reads the `usage` of a chat completion: hits and misses of the cache make up the prompt."""
    prompt = count(usage, "prompt_tokens")
    hit = count(usage, "prompt_cache_hit_tokens")
    if hit is None:
        hit = count(usage, "prompt_tokens_details", "cached_tokens")
    reasoning = count(usage, "completion_tokens_details", "reasoning_tokens")
    return meters(
        input_token_count=rest(prompt, hit),
        cache_read_token_count=hit,
        output_token_count=rest(count(usage, "completion_tokens"), reasoning),
        reasoning_token_count=reasoning,
    )
