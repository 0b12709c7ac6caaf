"""What answers with no text: embeddings, speech, transcriptions, images; charged at once."""

from __future__ import annotations

import base64
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Final

from local.demo.provider.bill import Usage
from local.demo.provider.voices.voice import BadRequestError, count_words, read_model

# What an image counts as output.
IMAGE_TOKENS: Final = 4_160
# So many bytes of an upload are a second of sound.
BYTES_PER_SECOND: Final = 16_000
PIXEL: Final = base64.b64encode(b"\x89PNG\r\n\x1a\nstand-in").decode()


class Medium(ABC):
    """One endpoint."""

    @abstractmethod
    def parse(
        self, params: Mapping[str, str], content: bytes, body: Mapping[str, Any]
    ) -> tuple[str, Usage]:
        """Returns the model and what the call uses; raises BadRequestError."""

    @abstractmethod
    def answer(self, body: Mapping[str, Any], usage: Usage) -> dict[str, Any] | bytes:
        """Returns the answer: JSON, or bytes."""


class Embeddings(Medium):
    """POST /{provider}/v1/embeddings."""

    def parse(
        self, params: Mapping[str, str], content: bytes, body: Mapping[str, Any]
    ) -> tuple[str, Usage]:
        """Returns the model and what the call uses; raises BadRequestError."""
        return read_model(body), Usage(prompt_tokens=sum(map(count_words, _texts(body))))

    def answer(self, body: Mapping[str, Any], usage: Usage) -> dict[str, Any] | bytes:
        """Returns the answer."""
        vectors = [
            {"object": "embedding", "index": index, "embedding": [0.5, 0.25]}
            for index, _ in enumerate(_texts(body))
        ]
        tokens = {"prompt_tokens": usage.prompt_tokens, "total_tokens": usage.prompt_tokens}
        frame = {"id": "embd-stand-in", "object": "list", "model": body["model"]}
        return {**frame, "data": vectors, "usage": tokens}


class GoogleEmbeddings(Medium):
    """POST /{provider}/v1/models/{model}:batchEmbedContents."""

    def parse(
        self, params: Mapping[str, str], content: bytes, body: Mapping[str, Any]
    ) -> tuple[str, Usage]:
        """Returns the model and what the call uses; raises BadRequestError."""
        texts = re.findall(r'"text": ?"([^"]*)"', content.decode())
        return params["model"], Usage(prompt_tokens=sum(map(count_words, texts)))

    def answer(self, body: Mapping[str, Any], usage: Usage) -> dict[str, Any] | bytes:
        """Returns the answer."""
        vectors = [{"values": [0.5, 0.25]} for _ in body.get("requests", ())]
        return {"embeddings": vectors, "usageMetadata": {"promptTokenCount": usage.prompt_tokens}}


class Speech(Medium):
    """POST /{provider}/v1/audio/speech, charged by the character; its answer is sound alone."""

    def parse(
        self, params: Mapping[str, str], content: bytes, body: Mapping[str, Any]
    ) -> tuple[str, Usage]:
        """Returns the model and what the call uses; raises BadRequestError."""
        return read_model(body), Usage(characters=len(str(body.get("input", ""))))

    def answer(self, body: Mapping[str, Any], usage: Usage) -> dict[str, Any] | bytes:
        """Returns the answer."""
        return b"ID3" + bytes(10) * usage.characters


class Transcriptions(Medium):
    """POST /{provider}/v1/audio/transcriptions, charged by the duration."""

    def parse(
        self, params: Mapping[str, str], content: bytes, body: Mapping[str, Any]
    ) -> tuple[str, Usage]:
        """Returns the model and what the call uses; raises BadRequestError."""
        model = re.search(rb'name="model"\r\n\r\n([^\r]*)', content)
        if model is None:
            raise BadRequestError("model: field required")
        seconds = -(-len(content) // BYTES_PER_SECOND)
        return model[1].decode(), Usage(audio_ms=1_000 * seconds)

    def answer(self, body: Mapping[str, Any], usage: Usage) -> dict[str, Any] | bytes:
        """Returns the answer."""
        told = {"type": "duration", "seconds": usage.audio_ms / 1_000}
        return {"text": "word word word", "usage": told}


class Images(Medium):
    """POST /{provider}/v1/images/generations, charged by tokens; dall-e by the image."""

    def parse(
        self, params: Mapping[str, str], content: bytes, body: Mapping[str, Any]
    ) -> tuple[str, Usage]:
        """Returns the model and what the call uses; raises BadRequestError."""
        model, count = read_model(body), int(body.get("n") or 1)
        if model.startswith("dall-e"):
            return model, Usage(images=count)
        drawn = count * IMAGE_TOKENS
        asked = count_words(str(body.get("prompt", "")))
        usage = Usage(prompt_tokens=asked, completion_tokens=drawn, image_tokens=drawn)
        return model, usage

    def answer(self, body: Mapping[str, Any], usage: Usage) -> dict[str, Any] | bytes:
        """Returns the answer."""
        images = [{"b64_json": PIXEL} for _ in range(int(body.get("n") or 1))]
        if usage.images:
            return {"created": 0, "data": images}
        told = {
            "input_tokens": usage.prompt_tokens,
            "input_tokens_details": {"image_tokens": 0, "text_tokens": usage.prompt_tokens},
            "output_tokens": usage.completion_tokens,
            "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        }
        return {"created": 0, "data": images, "usage": told}


def _texts(body: Mapping[str, Any]) -> list[str]:
    given = body.get("input")
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not all(isinstance(each, str) for each in texts):
        raise BadRequestError("input must be a text or a list of texts")
    return texts
