"""What OpenAI's usage objects say, and those of providers that copy them."""

from __future__ import annotations

from headgate.usage.counts import (
    Meters,
    count,
    member,
    meters,
    milliseconds,
    rest,
    tolerant,
)


@tolerant
def chat(usage: object) -> Meters:
    """Reads the `usage` of a chat completion, or of the last chunk of its stream."""
    return _read(usage, sums=("prompt_tokens", "completion_tokens"), details="tokens_details")


@tolerant
def responses(usage: object) -> Meters:
    """Reads the `usage` of the Responses API."""
    return _read(usage, sums=("input_tokens", "output_tokens"), details="tokens_details")


@tolerant
def embeddings(usage: object) -> Meters:
    """Reads the `usage` of embeddings, which have no output."""
    return meters(input_token_count=count(usage, "prompt_tokens"))


@tolerant
def transcription(usage: object) -> Meters:
    """Reads the `usage` of a transcription, billed by tokens or by the audio's duration."""
    if member(usage, "type") == "duration":
        return meters(audio_ms=milliseconds(usage, "seconds"))
    audio = count(usage, "input_token_details", "audio_tokens")
    return meters(
        input_token_count=rest(count(usage, "input_tokens"), audio),
        audio_input_token_count=audio,
        output_token_count=count(usage, "output_tokens"),
    )


@tolerant
def images(usage: object) -> Meters:
    """Reads the `usage` of generated images. All output without details is images."""
    image = count(usage, "input_tokens_details", "image_tokens")
    output = count(usage, "output_tokens")
    text = count(usage, "output_tokens_details", "text_tokens")
    return meters(
        input_token_count=rest(count(usage, "input_tokens"), image),
        image_input_token_count=image,
        image_output_token_count=rest(output, text),
        output_token_count=text,
    )


def _read(usage: object, *, sums: tuple[str, str], details: str) -> Meters:
    """Splits sums into disjoint parts; what the details name is part of the sums.

    Cached tokens are not told apart by kind: they are text as far as there was text. A cache that
    is kept for minutes is priced as the shorter one, one that is kept for hours as the longer.
    """
    total, output = count(usage, sums[0]), count(usage, sums[1])
    ins = member(usage, sums[0].replace("tokens", details))
    outs = member(usage, sums[1].replace("tokens", details))
    audio, cached = count(ins, "audio_tokens"), count(ins, "cached_tokens")
    longer = count(ins, "cache_write_tokens_details", "ttl_12h_tokens")
    shorter = rest(count(ins, "cache_write_tokens"), longer)
    text = rest(total, audio)
    cached_text = cached if cached is None or text is None else min(cached, text)
    cached_audio = rest(cached, cached_text) or None
    spoken, reasoning = count(outs, "audio_tokens"), count(outs, "reasoning_tokens")
    return meters(
        input_token_count=rest(text, cached_text, shorter, longer),
        cache_read_token_count=cached_text,
        cache_write_5m_token_count=shorter,
        cache_write_1h_token_count=longer,
        audio_input_token_count=rest(audio, cached_audio),
        audio_cache_read_token_count=cached_audio,
        output_token_count=rest(output, reasoning, spoken),
        reasoning_token_count=reasoning,
        audio_output_token_count=spoken,
    )
