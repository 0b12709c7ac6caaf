"""How requests and answers of providers' HTTP interfaces are written.

A family of dialects shares base URL and authentication; a shape is one of its endpoints. Shapes
are pure: bytes and JSON values in, values out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from headgate.dialects import anthropic, cohere, google, mistral
from headgate.dialects.openai_chat import ChatCompletions, TextCompletions
from headgate.dialects.openai_media import Embeddings, Images, Speech, Transcriptions
from headgate.dialects.openai_responses import Responses
from headgate.dialects.shape import Shape

# Which dialects belong to a family: a request of the family can be sent to all of them.
DIALECTS: Final[Mapping[str, frozenset[str]]] = {
    "openai": frozenset({"openai", "mistral", "deepseek", "compatible"}),
    "anthropic": frozenset({"anthropic"}),
    "google": frozenset({"google"}),
    "cohere": frozenset({"cohere"}),
    "mistral": frozenset({"mistral"}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a shape is spoken."""

    # How the path goes on after a base URL of the family.
    start: str
    # How it ends.
    end: str
    shape: Shape


def _ending(path: str, shape: Shape) -> Endpoint:
    return Endpoint(start=path, end=path, shape=shape)


def _model_method(method: str, shape: Shape) -> Endpoint:
    return Endpoint(start="/models/", end=f":{method}", shape=shape)


# The first that fits counts.
_ENDPOINTS: Final = (
    _ending("/chat/completions", ChatCompletions()),
    _ending("/fim/completions", ChatCompletions().as_spoken_by("mistral")),
    _ending("/completions", TextCompletions()),
    _ending("/responses", Responses()),
    _ending("/embeddings", Embeddings()),
    _ending("/audio/speech", Speech()),
    _ending("/audio/transcriptions", Transcriptions()),
    _ending("/audio/translations", Transcriptions()),
    _ending("/images/generations", Images()),
    _ending("/images/edits", Images()),
    _ending("/v1/messages", anthropic.Messages()),
    _ending("/v2/chat", cohere.Chat()),
    _ending("/v2/embed", cohere.Embed()),
    _ending("/v1/ocr", mistral.Ocr()),
    _model_method("generateContent", google.GenerateContent()),
    _model_method("streamGenerateContent", google.GenerateContent()),
    _model_method("embedContent", google.EmbedContent()),
    _model_method("batchEmbedContents", google.EmbedContent()),
    _model_method("predict", google.Predict()),
)
# What may be asked besides, because no provider charges for it.
_FREE: Final = (
    *("/files", "/uploads", "/moderations", "/vector_stores", "/count_tokens", "/cancel"),
    *(":countTokens", "/tokenize", "/detokenize"),
)


def find(path: str) -> Endpoint | None:
    """Returns the endpoint of a URL's path. None: none that is governed."""
    for endpoint in _ENDPOINTS:
        if path.endswith(endpoint.end) and endpoint.start in path:
            return endpoint
    return None


def is_free(method: str, path: str) -> bool:
    """Tells whether a request that is not governed costs nothing by itself."""
    return method not in ("POST", "PUT", "PATCH") or any(
        path.endswith(each) or f"{each}/" in path for each in _FREE
    )
