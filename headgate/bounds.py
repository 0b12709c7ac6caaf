"""How many tokens a request's input can be at most, without any tokenizer.

No tokenizer makes more tokens of a text than the text has bytes in UTF-8, before or after the
normalization that some apply. A quarter of the characters is no bound: CJK, code and base64 need
up to a token for each byte or two (tests/unit/headgate/test_bounds.py, with real tokenizers).
Media count by what providers document as their most; what only the provider can see, such as a
stored conversation, counts as a whole context.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from typing import Any, Final

# What surrounds a message in a model's template, and what surrounds all of them.
MESSAGE_TOKENS: Final = 16
REQUEST_TOKENS: Final = 64
# What providers say about tools before the first one, and around each.
TOOLS_TOKENS: Final = 1_024
TOOL_TOKENS: Final = 64
# The dearest image of a dialect, whatever its size: 8 tiles of 5,667 tokens and the like.
IMAGE_TOKENS: Final[Mapping[str, int]] = {"anthropic": 5_000, "google": 10_000, "cohere": 5_000}
IMAGE_TOKENS_MAX: Final = 50_000
# The greatest context that is sold widely: nothing that is read there counts more.
CONTEXT_TOKENS: Final = 1_048_576
# Nobody makes more tokens of a second of sound.
AUDIO_TOKENS_PER_SECOND: Final = 32
# The least that a second of sound takes in bytes. Other formats may be silent for less: a token
# for each byte bounds them all.
AUDIO_BYTES_PER_SECOND: Final[Mapping[str, int]] = {"wav": 4_000, "pcm16": 8_000, "mp3": 1_000}

_IMAGE_TYPES: Final = frozenset({"image_url", "input_image", "image"})
_FILE_TYPES: Final = frozenset(
    {"file", "input_file", "document", "document_url", "container_upload", "video", "video_url"}
)
# Members that stand for what the provider has stored.
_STORED: Final = ("previous_response_id", "conversation", "cachedContent", "prompt")
_MESSAGES: Final = ("messages", "input", "contents")


def text_tokens(text: str) -> int:
    """Returns the most tokens that a text can be."""
    size = len(text.encode("utf-8", "surrogatepass"))
    if text.isascii() or unicodedata.is_normalized("NFKC", text):
        return size
    return max(size, len(unicodedata.normalize("NFKC", text).encode("utf-8", "surrogatepass")))


def audio_tokens(size: int, kind: str) -> int:
    """Returns the most tokens that so many bytes of sound can be."""
    least = AUDIO_BYTES_PER_SECOND.get(kind, AUDIO_TOKENS_PER_SECOND)
    return -(-size * AUDIO_TOKENS_PER_SECOND // least)


def audio_ms(size: int, kind: str) -> int:
    """Returns the most milliseconds that so many bytes of sound can last."""
    least = AUDIO_BYTES_PER_SECOND.get(kind, AUDIO_TOKENS_PER_SECOND)
    return -(-size * 1_000 // least)


def wanted(given: object, *, default: int = 1) -> int:
    """Returns how many are asked for, as a number or the text of a form; else the default."""
    if isinstance(given, str) and given.isdecimal():
        given = int(given)
    return given if isinstance(given, int) and given > 0 else default


def input_tokens(body: Mapping[str, Any], *, dialect: str = "openai") -> int:
    """Returns the most tokens that the input of a request's body can be."""
    weigher = _Weigher(IMAGE_TOKENS.get(dialect, IMAGE_TOKENS_MAX))
    tools = body.get("tools") or body.get("functions") or []
    told = {name: value for name, value in body.items() if name not in ("tools", "functions")}
    weight = REQUEST_TOKENS + weigher.weigh(told)
    for name in _MESSAGES:
        listed = body.get(name)
        weight += MESSAGE_TOKENS * len(listed) if isinstance(listed, list) else 0
    if tools:
        # Written out as long as a template may have it.
        weight += TOOLS_TOKENS + text_tokens(json.dumps(tools, ensure_ascii=False, indent=4))
        weight += TOOL_TOKENS * len(tools)
    unseen = weigher.unseen or any(body.get(name) for name in _STORED) or _reads_more(tools)
    return weight + (CONTEXT_TOKENS if unseen else 0)


def _reads_more(tools: object) -> bool:
    """Tells whether a tool is run by the provider: what it brings is input that nobody sees."""
    if not isinstance(tools, list):
        return False
    return any(not _is_function(tool) for tool in tools)


def _is_function(tool: object) -> bool:
    if not isinstance(tool, Mapping):
        return False
    if set(tool) & {"functionDeclarations", "function_declarations", "input_schema"}:
        return not set(tool) & {"googleSearch", "urlContext", "codeExecution"}
    return tool.get("type", "function") in ("function", "custom") and len(tool) > 1


class _Weigher:
    """Adds up the parts of a body."""

    def __init__(self, image_tokens: int) -> None:
        self._image_tokens = image_tokens
        # A part is read where only the provider can see it.
        self.unseen = False

    def weigh(self, value: object) -> int:
        """Returns the most tokens of a JSON value, keys and punctuation included."""
        if isinstance(value, str):
            return text_tokens(json.dumps(value, ensure_ascii=False))
        if isinstance(value, Mapping):
            medium = self._weigh_medium(value)
            return self._weigh_members(value) if medium is None else medium
        if isinstance(value, list):
            return 2 + sum(self.weigh(each) + 1 for each in value)
        return len(json.dumps(value))

    def _weigh_members(self, value: Mapping[str, object]) -> int:
        return 2 + sum(self.weigh(name) + self.weigh(each) + 2 for name, each in value.items())

    def _weigh_medium(self, value: Mapping[str, Any]) -> int | None:
        """Returns the weight of a part that is no text. None: it is text."""
        kind = value.get("type")
        if kind in _IMAGE_TYPES:
            return self._image_tokens
        if kind == "input_audio":
            return self._weigh_sound(value.get("input_audio"))
        if kind in _FILE_TYPES:
            return self._weigh_file(value.get("source"))
        for name in ("inlineData", "inline_data"):
            if isinstance(value.get(name), Mapping):
                return self._weigh_inline(value[name])
        for name in ("fileData", "file_data"):
            if isinstance(value.get(name), Mapping):
                return self._weigh_stored(value[name])
        return None

    def _weigh_sound(self, sound: object) -> int:
        held = sound if isinstance(sound, Mapping) else {"data": sound}
        data, kind = held.get("data"), held.get("format")
        if not isinstance(data, str) or data.startswith(("http:", "https:")):
            self.unseen = True
            return 0
        return audio_tokens(len(data), kind if isinstance(kind, str) else "")

    def _weigh_file(self, source: object) -> int:
        if isinstance(source, Mapping) and source.get("type") == "text":
            return self._weigh_members(source)
        self.unseen = True
        return 0

    def _weigh_inline(self, held: Mapping[str, Any]) -> int:
        kind, data = _mime(held), held.get("data")
        size = len(data) if isinstance(data, str) else 0
        if kind.startswith("image/"):
            return self._image_tokens
        if kind.startswith("audio/"):
            return audio_tokens(size, kind.removeprefix("audio/").removeprefix("x-"))
        if kind.startswith(("text/", "video/")):
            return size
        self.unseen = True
        return 0

    def _weigh_stored(self, held: Mapping[str, Any]) -> int:
        if _mime(held).startswith("image/"):
            return self._image_tokens
        self.unseen = True
        return 0


def _mime(held: Mapping[str, Any]) -> str:
    kind = held.get("mimeType") or held.get("mime_type")
    return kind if isinstance(kind, str) else ""


def embedded_tokens(given: object) -> int:
    """Returns the most tokens of what is embedded: texts, or tokens that were made already."""
    if isinstance(given, str):
        return text_tokens(given) + MESSAGE_TOKENS
    if isinstance(given, list):
        return sum(1 if isinstance(each, int) else embedded_tokens(each) for each in given)
    return CONTEXT_TOKENS
