"""Tags of languages, and which text fits one best."""

from __future__ import annotations

import pytest

from gateway.domain.locales import LOCALE_LENGTH_MAX, find_locale, parse_locale


@pytest.mark.parametrize(
    ("tag", "spelled"),
    [
        ("de", "de"),
        ("DE-at", "de-AT"),
        ("de_AT", "de-AT"),
        ("ZH-hant-tw", "zh-Hant-TW"),
        ("sl-Rozaj-1994", "sl-rozaj-1994"),
        ("es-419", "es-419"),
        ("en-x-Pig", "en-x-pig"),
    ],
)
def test_tags_are_spelled_alike(tag: str, spelled: str) -> None:
    assert parse_locale(tag) == spelled


@pytest.mark.parametrize(
    "tag", ["", "d", "de-", "-de", "de--AT", "d3", "de AT", "de-toolongsub", "ä", "a" * 9, "\x00"]
)
def test_what_is_no_tag_is_none(tag: str) -> None:
    assert parse_locale(tag) is None
    assert parse_locale("de" + "-abcdefg" * LOCALE_LENGTH_MAX) is None


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("de-AT", "de-AT"),
        ("de-AT-1996", "de-AT"),
        ("de-CH", "de"),
        ("zh-Hant-TW", "zh-Hant"),
        ("de-x-private", "de"),
        ("fr", "en"),
        ("", "en"),
    ],
)
def test_a_more_general_language_does_and_then_the_default(wanted: str, found: str) -> None:
    locales = {"en", "de", "de-AT", "zh-Hant"}

    assert find_locale(locales, wanted, default="en") == found
