"""What is not tokens is bounded by what a request shows, never below what the provider bills."""

from __future__ import annotations

from typing import Any

import pytest

from headgate import bounds
from headgate.plan import make_plan
from tests.unit.headgate.test_dialects import read

IMAGEN = "/v1/models/imagen:predict"
OCR = "/v1/ocr"


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/v1/audio/speech", {"model": "own", "input": "H\u00e9llo"}, {"character_count": 5}),
        ("/v1/images/generations", {"model": "own", "prompt": "a", "n": 3}, {"image_count": 3}),
        ("/v1/images/generations", {"model": "own", "prompt": "a"}, {"image_count": 1}),
        ("/v1/images/generations", {"model": "own", "prompt": "a", "n": None}, {"image_count": 1}),
        (IMAGEN, {"instances": [], "parameters": {"sampleCount": 2}}, {"image_count": 2}),
        (IMAGEN, {"instances": []}, {"image_count": 4}),
        (OCR, {"model": "own", "document": {}, "pages": [0, 7]}, {"page_count": 2}),
        (OCR, {"model": "own", "document": {}}, {"page_count": 1_000}),
        ("/v1/chat/completions", {"model": "own", "messages": []}, {}),
    ],
    ids=str,
)
def test_a_request_shows_how_much_it_asks_for(
    path: str, body: dict[str, Any], expected: dict[str, int]
) -> None:
    assert read(path, body)[1].max_units == expected


@pytest.mark.parametrize(
    ("kind", "bytes_per_second"), [("wav", 4_000), ("mp3", 1_000), ("opus", 32)]
)
def test_sound_lasts_no_longer_than_its_bytes_can(kind: str, bytes_per_second: int) -> None:
    assert bounds.audio_ms(bytes_per_second * 60, kind) == 60_000
    assert bounds.audio_ms(1, kind) == -(-1_000 // bytes_per_second)


@pytest.mark.parametrize(("given", "count"), [("3", 3), ("x", 1), (0, 1), (-1, 1), (2.5, 1)])
def test_a_number_that_is_none_is_the_default(given: object, count: int) -> None:
    assert bounds.wanted(given) == count


def test_a_plan_asks_with_the_bounds_of_its_units() -> None:
    plan = make_plan(
        "draw", new_id="1", default_timeout_seconds=1, max_units={"image_count": 2, "audio_ms": 0}
    )
    asked = plan.to_request().unit_bounds

    assert (asked.image_count, asked.audio_ms) == (2, 0)
    assert asked.HasField("audio_ms")
    assert not asked.HasField("page_count")
    unknown = make_plan("x", new_id="1", default_timeout_seconds=1, max_units={"minutes": 2})
    with pytest.raises(ValueError, match="minutes"):
        unknown.to_request()
