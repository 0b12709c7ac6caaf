"""What only Mistral has."""

from __future__ import annotations

from typing import Final

from headgate.dialects.shape import Asked, Sent, Shape, at, parse_object, render, text
from headgate.usage import mistral
from headgate.usage.counts import Meters

# The longest document that is read.
PAGES_MAX: Final = 1_000


class Ocr(Shape):
    """POST …/v1/ocr, billed by the page."""

    family = "mistral"

    def read(self, sent: Sent) -> Asked:
        """Returns what a request asks for. Raises UnreadableError."""
        body = parse_object(sent.content)
        asked_for = body.get("pages")
        pages = len(asked_for) if isinstance(asked_for, list) and asked_for else PAGES_MAX
        return Asked(
            sent=sent,
            body=body,
            model=text(body.get("model")),
            max_output_tokens=0,
            max_units={"page_count": min(pages, PAGES_MAX)},
        )

    def write(self, asked: Asked, *, model: str, max_output_tokens: int) -> tuple[str, bytes]:
        """Returns path and content of the request for a model."""
        return asked.sent.path, render({**asked.body, "model": model})

    def meters(self, asked: Asked, answer: object) -> Meters:
        """Returns how many pages were read."""
        return mistral.pages(at(answer, "usage_info"))
