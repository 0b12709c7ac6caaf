"""What providers document, read by us and by somebody else."""

from __future__ import annotations

from typing import Any

import genai_prices
import pytest

from headgate.api.common.v1 import call_pb2
from headgate.usage import anthropic, google, openai
from tests.unit.headgate.usage.example import Example
from tests.unit.headgate.usage.examples import EXAMPLES

# Which of our meters make up what somebody else calls input and output.
INPUT = (
    *("input_token_count", "cache_read_token_count", "cache_write_5m_token_count"),
    *("cache_write_1h_token_count", "audio_input_token_count", "audio_cache_read_token_count"),
    *("image_input_token_count", "image_cache_read_token_count"),
)
OUTPUT = (
    *("output_token_count", "reasoning_token_count", "audio_output_token_count"),
    "image_output_token_count",
)
KNOWN = [each for each in EXAMPLES if each.provider]
# Somebody else wants to know a model of the provider's.
MODELS = {
    "openai": "gpt-4o",
    "anthropic": "claude-sonnet-4-5",
    "google": "gemini-2.5-flash",
    "mistral": "mistral-small-latest",
    "cohere": "command-r",
    "aws": "amazon.nova-pro-v1:0",
    "deepseek": "deepseek-chat",
}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda each: each.name)
def test_a_documented_usage_is_read_meter_by_meter(example: Example) -> None:
    assert example.read(example.usage) == example.meters


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda each: each.name)
def test_the_meters_are_those_of_the_contract(example: Example) -> None:
    message = call_pb2.UsageMeters(**example.read(example.usage))

    assert message.ByteSize() > 0


@pytest.mark.parametrize("example", KNOWN, ids=lambda each: each.name)
def test_somebody_else_reads_the_same_sums(example: Example) -> None:
    answer: dict[str, Any] = {example.root: example.usage}
    answer["modelVersion" if example.provider == "google" else "model"] = MODELS[example.provider]
    theirs = genai_prices.extract_usage(
        answer, provider_id=example.provider, api_flavor=example.flavour
    ).usage
    ours = example.read(example.usage)

    assert sum(ours.get(name, 0) for name in INPUT) == (theirs.input_tokens or 0)
    assert sum(ours.get(name, 0) for name in OUTPUT) == (theirs.output_tokens or 0)
    assert ours.get("cache_read_token_count", 0) == (theirs.cache_read_tokens or 0)
    written = (ours.get(f"cache_write_{life}_token_count", 0) for life in ("5m", "1h"))
    assert sum(written) == (theirs.cache_write_tokens or 0)


def test_a_streams_start_holds_what_its_end_does_not_repeat() -> None:
    start = {
        "input_tokens": 25,
        "cache_read_input_tokens": 100,
        "cache_creation_input_tokens": 10,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 10},
        "output_tokens": 1,
    }
    delta = {"input_tokens": None, "output_tokens": 15}

    assert anthropic.messages(anthropic.merge(start, delta)) == {
        "input_token_count": 25,
        "cache_read_token_count": 100,
        "cache_write_5m_token_count": 0,
        "cache_write_1h_token_count": 10,
        "output_token_count": 15,
    }


def test_tools_that_the_provider_runs_are_counted() -> None:
    answer = {
        "output": [
            {"type": "web_search_call", "id": "ws_1"},
            {"type": "web_search_call", "id": "ws_2"},
            {"type": "file_search_call", "id": "fs_1"},
            {"type": "code_interpreter_call", "container_id": "cntr_1"},
            {"type": "code_interpreter_call", "container_id": "cntr_1"},
            {"type": "message", "content": []},
        ]
    }

    assert openai.tools(answer) == {
        "web_search_count": 2,
        "file_search_count": 1,
        "code_session_count": 1,
    }
    assert openai.tools({"output": [{"type": "message"}]}) == {}


def test_searches_that_ground_an_answer_are_counted() -> None:
    metadata = {"webSearchQueries": ["UEFA Euro 2024 winner", "who won euro 2024"]}

    assert google.searches({"candidates": [{"groundingMetadata": metadata}]}) == {
        "web_search_count": 2
    }
    assert google.searches({"candidates": [{"content": {}}]}) == {}
