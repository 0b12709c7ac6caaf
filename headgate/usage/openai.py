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
    return split(usage, "prompt_tokens", "completion_tokens")


@tolerant
def responses(usage: object) -> Meters:
    """Reads the `usage` of the Responses API."""
    return split(usage, "input_tokens", "output_tokens")


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
def speech(usage: object) -> Meters:
    """Reads the `usage` that ends a stream of speech: all of its output is audio."""
    return meters(
        input_token_count=count(usage, "input_tokens"),
        audio_output_token_count=count(usage, "output_tokens"),
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


@tolerant
def tools(answer: object) -> Meters:
    """Counts the provider's own tools that an answer of the Responses API has used."""
    output = member(answer, "output")
    items = [each for each in output if isinstance(each, dict)] if isinstance(output, list) else []
    kinds = [member(each, "type") for each in items]
    containers = {
        container
        for each in items
        if member(each, "type") == "code_interpreter_call"
        and isinstance(container := member(each, "container_id"), str)
    }
    return meters(
        web_search_count=kinds.count("web_search_call") or None,
        file_search_count=kinds.count("file_search_call") or None,
        code_session_count=len(containers) or None,
    )


def split(usage: object, input_sum: str, output_sum: str) -> Meters:
    """Splits sums into disjoint parts. Raises NonsenseError.

    What a sum's details name is part of it. Cached tokens are not told apart by kind: they are
    text as far as there was text. A cache that is kept for minutes is priced as the shorter one,
    one that is kept for hours as the longer.
    """
    given, made = member(usage, f"{input_sum}_details"), member(usage, f"{output_sum}_details")
    audio, cached = count(given, "audio_tokens"), count(given, "cached_tokens")
    longer = count(given, "cache_write_tokens_details", "ttl_12h_tokens")
    shorter = rest(count(given, "cache_write_tokens"), longer)
    text = rest(count(usage, input_sum), audio)
    cached_text = cached if cached is None or text is None else min(cached, text)
    cached_audio = rest(cached, cached_text) or None
    spoken, reasoning = count(made, "audio_tokens"), count(made, "reasoning_tokens")
    return meters(
        input_token_count=rest(text, cached_text, shorter, longer),
        cache_read_token_count=cached_text,
        cache_write_5m_token_count=shorter,
        cache_write_1h_token_count=longer,
        audio_input_token_count=rest(audio or 0, cached_audio) if cached_audio else audio,
        audio_cache_read_token_count=cached_audio,
        output_token_count=rest(count(usage, output_sum), reasoning, spoken),
        reasoning_token_count=reasoning,
        audio_output_token_count=spoken,
    )
