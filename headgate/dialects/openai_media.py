"""OpenAI's endpoints whose answers are no texts to read: embeddings, speech, images, sound."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from headgate import bounds
from headgate.dialects import multipart
from headgate.dialects.shape import (
    Asked,
    Sent,
    Shape,
    UnreadableError,
    Watch,
    at,
    parse_object,
    render,
    text,
)
from headgate.usage import mistral, openai
from headgate.usage.counts import Meters


class _Media(Shape):
    """An endpoint that takes no bound of its output."""

    family = "openai"

    def read(self, sent: Sent) -> Asked:
        """Returns what a request asks for. Raises UnreadableError."""
        body = parse_object(sent.content)
        return Asked(
            sent=sent,
            body=body,
            model=text(body.get("model")),
            streams=body.get("stream") is True,
            input_tokens=bounds.input_tokens(body),
        )

    def write(self, asked: Asked, *, model: str, max_output_tokens: int) -> tuple[str, bytes]:
        """Returns path and content of the request for a model."""
        return asked.sent.path, render({**asked.body, "model": model})


class Embeddings(_Media):
    """POST …/embeddings."""

    def __init__(self, dialect: str = "openai") -> None:
        self._read_usage = mistral.chat if dialect == "mistral" else openai.embeddings

    def as_spoken_by(self, dialect: str) -> Shape:
        """Returns the shape as a provider of the family speaks it."""
        return Embeddings(dialect)

    def read(self, sent: Sent) -> Asked:
        """Returns what a request asks for. Raises UnreadableError."""
        body = parse_object(sent.content)
        given = body.get("input")
        return Asked(
            sent=sent,
            body=body,
            model=text(body.get("model")),
            max_output_tokens=0,
            input_tokens=bounds.embedded_tokens(given),
        )

    def meters(self, asked: Asked, answer: object) -> Meters:
        """Returns what a whole answer says was used."""
        return self._read_usage(at(answer, "usage"))


class Speech(_Media):
    """POST …/audio/speech, billed by characters, or by tokens that only a stream tells."""

    def read(self, sent: Sent) -> Asked:
        """Returns what a request asks for. Raises UnreadableError."""
        asked = super().read(sent)
        return replace(asked, max_units=self.meters(asked, None))

    def meters(self, asked: Asked, answer: object) -> Meters:
        """Returns the characters that were spoken."""
        return {"character_count": len(text(asked.body.get("input")))}

    def watch(self, asked: Asked) -> Watch:
        """Returns what is known at the start: all characters, however much is heard of them."""
        return Watch(meters=self.meters(asked, None))

    def see(self, asked: Asked, watch: Watch, event: Mapping[str, Any]) -> bool:
        """Notes the end, which tells tokens."""
        if event.get("type") == "speech.audio.done":
            watch.meters = openai.speech(event.get("usage")) or watch.meters
            watch.ended = True
        return True


class Images(_Media):
    """POST …/images/generations and …/images/edits; billed by tokens, else by the image."""

    def read(self, sent: Sent) -> Asked:
        """Returns what a request asks for. Raises UnreadableError."""
        if sent.content_type.startswith("multipart/"):
            asked = _read_form(sent, file_tokens=lambda size, name: bounds.IMAGE_TOKENS_MAX)
        else:
            asked = super().read(sent)
        return replace(asked, max_units={"image_count": bounds.wanted(asked.body.get("n"))})

    def write(self, asked: Asked, *, model: str, max_output_tokens: int) -> tuple[str, bytes]:
        """Returns path and content of the request for a model."""
        if asked.sent.content_type.startswith("multipart/"):
            return _write_form(asked, model)
        return super().write(asked, model=model, max_output_tokens=max_output_tokens)

    def meters(self, asked: Asked, answer: object) -> Meters:
        """Returns what a whole answer says was used."""
        made = at(answer, "data")
        if at(answer, "usage") is not None:
            return openai.images(answer["usage"])  # type: ignore[index]
        return {"image_count": len(made)} if isinstance(made, list) else {}

    def see(self, asked: Asked, watch: Watch, event: Mapping[str, Any]) -> bool:
        """Notes the end, which tells the usage."""
        if event.get("type") in ("image_generation.completed", "image_edit.completed"):
            watch.meters = openai.images(event.get("usage"))
            watch.ended = True
        if event.get("error"):
            watch.failure = "stream_error"
        return True


class Transcriptions(Shape):
    """POST …/audio/transcriptions and …/audio/translations."""

    family = "openai"

    def __init__(self, dialect: str = "openai") -> None:
        self._read_usage = mistral.chat if dialect == "mistral" else openai.transcription

    def as_spoken_by(self, dialect: str) -> Shape:
        """Returns the shape as a provider of the family speaks it."""
        return Transcriptions(dialect)

    def read(self, sent: Sent) -> Asked:
        """Returns what a request asks for. Raises UnreadableError."""
        asked = _read_form(sent, file_tokens=bounds.audio_tokens)
        return replace(asked, max_units={"audio_ms": _sum_files(sent, bounds.audio_ms)})

    def write(self, asked: Asked, *, model: str, max_output_tokens: int) -> tuple[str, bytes]:
        """Returns path and content of the request for a model."""
        return _write_form(asked, model)

    def meters(self, asked: Asked, answer: object) -> Meters:
        """Returns what a whole answer says was used."""
        return self._read_usage(at(answer, "usage"))

    def see(self, asked: Asked, watch: Watch, event: Mapping[str, Any]) -> bool:
        """Notes the end, which tells the usage."""
        if event.get("type") in ("transcript.text.done", "transcription.done"):
            watch.meters = self._read_usage(event.get("usage"))
            watch.ended = True
        if event.get("error"):
            watch.failure = "stream_error"
        return True


def _read_form(sent: Sent, *, file_tokens: Callable[[int, str], int]) -> Asked:
    parts = multipart.parse(sent.content, sent.content_type)
    fields = multipart.read_fields(sent.content, parts)
    if not fields.get("model"):
        raise UnreadableError("the form names no model")
    files = _sum_files(sent, file_tokens)
    return Asked(
        sent=sent,
        body=fields,
        model=fields["model"],
        streams=fields.get("stream", "").lower() == "true",
        input_tokens=files + bounds.input_tokens(fields),
    )


def _sum_files(sent: Sent, weigh: Callable[[int, str], int]) -> int:
    """Returns the sum over a form's files of what each weighs by its size and kind."""
    return sum(
        weigh(part.end - part.start, multipart.file_kind(sent.content, part))
        for part in multipart.parse(sent.content, sent.content_type)
        if part.is_file
    )


def _write_form(asked: Asked, model: str) -> tuple[str, bytes]:
    sent = asked.sent
    parts = multipart.parse(sent.content, sent.content_type)
    named = next(part for part in parts if part.name == "model" and not part.is_file)
    return sent.path, multipart.replace(sent.content, named, model)
