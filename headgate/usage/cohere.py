"""What Cohere's usage objects say."""

from __future__ import annotations

from headgate.usage.counts import Meters, count, meters, tolerant


@tolerant
def billed(usage: object) -> Meters:
    """Reads the `usage` of a chat or the `meta` of embeddings: what is billed, not what passed.

    The tokens that Cohere adds to a prompt are among `tokens` and not among `billed_units`.
    """
    return meters(
        input_token_count=count(usage, "billed_units", "input_tokens"),
        output_token_count=count(usage, "billed_units", "output_tokens"),
        image_input_token_count=count(usage, "billed_units", "image_tokens"),
    )
