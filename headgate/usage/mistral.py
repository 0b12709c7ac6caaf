"""What Mistral's usage objects say."""

from __future__ import annotations

from headgate.usage import openai
from headgate.usage.counts import Meters, count, meters, milliseconds, tolerant


@tolerant
def chat(usage: object) -> Meters:
    """Reads the `usage` of chat, completion, embeddings and transcription.

    It is written like OpenAI's, and audio is told by its seconds besides.
    """
    heard = milliseconds(usage, "prompt_audio_seconds")
    return openai.split(usage, "prompt_tokens", "completion_tokens") | meters(audio_ms=heard)


@tolerant
def pages(usage: object) -> Meters:
    """Reads the `usage_info` of documents that were read."""
    return meters(page_count=count(usage, "pages_processed"))
