"""What Anthropic's usage objects say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headgate.usage.counts import Meters, count, meters, rest, tolerant


@tolerant
def messages(usage: object) -> Meters:
    """Reads the `usage` of a message.

    `input_tokens` has neither what was read from a cache nor what was written to one. Writes that
    are not told apart by lifetime are those of the default, five minutes.
    """
    written = count(usage, "cache_creation_input_tokens")
    longer = count(usage, "cache_creation", "ephemeral_1h_input_tokens")
    shorter = count(usage, "cache_creation", "ephemeral_5m_input_tokens")
    if written is not None:
        shorter = rest(written, longer)
    thinking = count(usage, "output_tokens_details", "thinking_tokens")
    return meters(
        input_token_count=count(usage, "input_tokens"),
        cache_read_token_count=count(usage, "cache_read_input_tokens"),
        cache_write_5m_token_count=shorter,
        cache_write_1h_token_count=longer,
        output_token_count=rest(count(usage, "output_tokens"), thinking),
        reasoning_token_count=thinking,
        web_search_count=count(usage, "server_tool_use", "web_search_requests"),
    )


def merge(start: object, delta: object) -> Mapping[str, Any]:
    """Returns a stream's usage: what its start told, and what its end corrected.

    A stream's counts are cumulative, and those that the end does not repeat still hold. Only the
    end tells the output: the start counts the tokens that it carries.
    """
    merged: dict[str, Any] = {}
    for told in (start, delta):
        if isinstance(told, Mapping):
            merged |= {name: value for name, value in told.items() if value is not None}
    return merged
