"""Google's Gemini API. The model stands in the path."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from headgate import bounds
from headgate.dialects.shape import (
    Asked,
    Sent,
    Shape,
    Spoken,
    UnreadableError,
    Watch,
    at,
    event,
    parse_object,
    render,
    speak_events,
    speak_whole,
    text,
    whole,
)
from headgate.usage import google
from headgate.usage.counts import Meters

# Images of a prediction that says no number: it makes four, or fewer.
IMAGES_MAX: Final = 4
_MODEL: Final = re.compile(r"/models/([^/:?]+):(\w+)")


class _Google(Shape):
    """An endpoint of a model."""

    family = "google"

    def write(self, asked: Asked, *, model: str, max_output_tokens: int) -> tuple[str, bytes]:
        """Returns path and content of the request for a model."""
        path = _MODEL.sub(lambda found: f"/models/{model}:{found[2]}", asked.sent.path, count=1)
        return path, asked.sent.content

    def _read(self, sent: Sent) -> tuple[str, str, dict[str, Any]]:
        """Returns model, method and body."""
        found = _MODEL.search(sent.path)
        if found is None:
            raise UnreadableError("the path names no model")
        return found[1], found[2], parse_object(sent.content)


class GenerateContent(_Google):
    """POST …/models/…:generateContent and …:streamGenerateContent."""

    def read(self, sent: Sent) -> Asked:
        """Returns what a request asks for. Raises UnreadableError."""
        model, method, body = self._read(sent)
        settings = body.get("generationConfig")
        count = whole(at(settings, "candidateCount")) or 1
        bound = whole(at(settings, "maxOutputTokens"))
        return Asked(
            sent=sent,
            body=body,
            model=model,
            streams=method.startswith("stream"),
            choice_count=count,
            max_output_tokens=bound * count if bound else None,
            input_tokens=bounds.input_tokens(body, dialect="google"),
        )

    def write(self, asked: Asked, *, model: str, max_output_tokens: int) -> tuple[str, bytes]:
        """Returns path and content of the request for a model, bounded."""
        path, content = super().write(asked, model=model, max_output_tokens=max_output_tokens)
        if asked.needs_bound(max_output_tokens):
            settings = asked.body.get("generationConfig")
            settings = dict(settings) if isinstance(settings, Mapping) else {}
            settings["maxOutputTokens"] = max(1, max_output_tokens // asked.choice_count)
            content = render({**asked.body, "generationConfig": settings})
        return path, content

    def meters(self, asked: Asked, answer: object) -> Meters:
        """Returns what an answer says was used; a stream without events is a list of answers."""
        if isinstance(answer, list):
            watch = Watch()
            for each in answer:
                if isinstance(each, Mapping):
                    self.see(asked, watch, each)
            return watch.meters
        used = google.gemini(at(answer, "usageMetadata"))
        return used | google.searches(answer) if used else {}

    def see(self, asked: Asked, watch: Watch, event: Mapping[str, Any]) -> bool:
        """Notes the usage, which each event tells as it is by then."""
        if event.get("error"):
            watch.failure = "stream_error"
        if event.get("usageMetadata") is not None:
            searched = watch.meters.get("web_search_count", 0)
            watch.meters = self.meters(asked, dict(event))
            if searched and watch.meters:
                found = watch.meters.get("web_search_count", 0)
                watch.meters["web_search_count"] = max(searched, found)
        return True

    def speak(self, asked: Asked, text: str) -> Spoken | None:
        """Returns a text as a candidate."""
        answer = _say(asked, text)
        return speak_events(event(answer)) if asked.streams else speak_whole(answer)

    def conclude(self, asked: Asked, watch: Watch, text: str) -> bytes | None:
        """Returns what ends a stream that broke off with a text."""
        return event(_say(asked, text))


def _say(asked: Asked, text: str) -> dict[str, Any]:
    content = {"role": "model", "parts": [{"text": text}]}
    return {
        "candidates": [{"content": content, "finishReason": "STOP", "index": 0}],
        "usageMetadata": {"promptTokenCount": 0, "totalTokenCount": 0},
        "modelVersion": asked.model,
        "responseId": "headgate",
    }


class EmbedContent(_Google):
    """POST …/models/…:embedContent and …:batchEmbedContents."""

    def read(self, sent: Sent) -> Asked:
        """Returns what a request asks for. Raises UnreadableError."""
        model, _, body = self._read(sent)
        return Asked(
            sent=sent,
            body=body,
            model=model,
            max_output_tokens=0,
            input_tokens=bounds.input_tokens(body, dialect="google"),
        )

    def write(self, asked: Asked, *, model: str, max_output_tokens: int) -> tuple[str, bytes]:
        """Returns path and content of the request for a model, which the content repeats."""
        path, _ = super().write(asked, model=model, max_output_tokens=max_output_tokens)
        return path, render(_rename(asked.body, f"models/{model}"))

    def meters(self, asked: Asked, answer: object) -> Meters:
        """Returns what an answer says was used, if it does."""
        return google.gemini(at(answer, "usageMetadata"))


class Predict(_Google):
    """POST …/models/…:predict, which makes images."""

    def read(self, sent: Sent) -> Asked:
        """Returns what a request asks for. Raises UnreadableError."""
        model, _, body = self._read(sent)
        weight = bounds.input_tokens(body, dialect="google")
        made = bounds.wanted(at(body.get("parameters"), "sampleCount"), default=IMAGES_MAX)
        return Asked(
            sent=sent,
            body=body,
            model=model,
            input_tokens=weight,
            max_units={"image_count": made},
        )

    def meters(self, asked: Asked, answer: object) -> Meters:
        """Returns how many images were made."""
        return google.images(answer)


def _rename(body: Mapping[str, Any], model: str) -> dict[str, Any]:
    """Returns the body with its own and its requests' model replaced."""
    renamed = dict(body)
    if text(body.get("model")):
        renamed["model"] = model
    requests = body.get("requests")
    if isinstance(requests, list):
        renamed["requests"] = [
            _rename(each, model) if isinstance(each, Mapping) else each for each in requests
        ]
    return renamed
