"""What Google's usage objects say."""

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
def gemini(usage: object) -> Meters:
    """Reads the `usageMetadata` of a generated content or of a stream's latest chunk.

    What tools gave the model is input, although no part of the prompt. Cached tokens are part of
    the prompt, thoughts are no part of the candidates. Audio has meters of its own; images do as
    output only: as input they cost what text costs.
    """
    cached = count(usage, "cachedContentTokenCount")
    audio_cached = _of_kind(usage, "cacheTokensDetails", "AUDIO")
    heard = _of_kind(usage, "promptTokensDetails", "AUDIO")
    from_tools = _of_kind(usage, "toolUsePromptTokensDetails", "AUDIO")
    audio = rest(plus(heard, from_tools), audio_cached)
    given = plus(count(usage, "promptTokenCount"), count(usage, "toolUsePromptTokenCount"))
    spoken = _of_kind(usage, "candidatesTokensDetails", "AUDIO")
    drawn = _of_kind(usage, "candidatesTokensDetails", "IMAGE")
    thoughts = count(usage, "thoughtsTokenCount")
    # A candidate of thoughts alone comes without a count.
    said = count(usage, "candidatesTokenCount")
    return meters(
        input_token_count=rest(given, cached, audio),
        cache_read_token_count=rest(cached, audio_cached),
        audio_input_token_count=audio,
        audio_cache_read_token_count=audio_cached,
        output_token_count=rest(said, spoken, drawn),
        reasoning_token_count=thoughts,
        audio_output_token_count=spoken,
        image_output_token_count=drawn,
    )


@tolerant
def searches(answer: object) -> Meters:
    """Reads the searches of the web that an answer's candidates are grounded in."""
    candidates = member(answer, "candidates")
    if not isinstance(candidates, list):
        return {}
    queries = [member(each, "groundingMetadata", "webSearchQueries") for each in candidates]
    counts = [len(each) for each in queries if isinstance(each, list)]
    return meters(web_search_count=sum(counts)) if counts else {}


@tolerant
def images(answer: object) -> Meters:
    """Counts the images of a prediction, which are charged by the image."""
    predictions = member(answer, "predictions")
    return meters(image_count=len(predictions)) if isinstance(predictions, list) else {}


def _of_kind(usage: object, details: str, modality: str) -> int | None:
    listed = member(usage, details)
    if listed is None:
        return None
    if not isinstance(listed, list):
        raise NonsenseError
    counts = [count(each, "tokenCount") for each in listed if member(each, "modality") == modality]
    return plus(*counts) if counts else None
