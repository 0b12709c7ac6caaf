"""What Bedrock's usage objects say."""

from __future__ import annotations

from headgate.usage.counts import (
    Meters,
    NonsenseError,
    count,
    member,
    meters,
    plus,
    rest,
    tolerant,
)


@tolerant
def converse(usage: object) -> Meters:
    """Reads the `usage` of Converse, or of the `metadata` that ends its stream.

    `inputTokens` has nothing that was read from a cache or written to one.
    """
    written = count(usage, "cacheWriteInputTokens")
    longer = _written_for(usage, "1h")
    shorter = _written_for(usage, "5m") if written is None else rest(written, longer)
    return meters(
        input_token_count=count(usage, "inputTokens"),
        cache_read_token_count=count(usage, "cacheReadInputTokens"),
        cache_write_5m_token_count=shorter,
        cache_write_1h_token_count=longer,
        output_token_count=count(usage, "outputTokens"),
    )


def _written_for(usage: object, lifetime: str) -> int | None:
    details = member(usage, "cacheDetails")
    if details is None:
        return None
    if not isinstance(details, list):
        raise NonsenseError
    return plus(
        *(count(each, "inputTokens") for each in details if member(each, "ttl") == lifetime)
    )
