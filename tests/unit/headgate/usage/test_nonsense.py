"""A provider that sends nonsense is not believed, and harms nobody."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.usage import anthropic, bedrock, cohere, deepseek, google, mistral, openai
from headgate.usage.counts import COUNT_MAX
from tests.unit.headgate.usage.example import Example
from tests.unit.headgate.usage.examples import EXAMPLES

READERS = (
    *(openai.chat, openai.responses, openai.embeddings, openai.transcription, openai.images),
    *(openai.speech, openai.tools, anthropic.messages, google.gemini, google.searches),
    *(google.images, mistral.chat, mistral.pages, deepseek.chat, cohere.billed, bedrock.converse),
)
WRONG: tuple[Any, ...] = (
    *("many", "12", -1, 1.5, True, float("nan"), float("inf"), 10**12, [], {"n": 1}),
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3)
    ),
    max_leaves=8,
)


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where numbers stand."""
    if isinstance(value, dict):
        return [each for name, held in value.items() for each in paths(held, (*path, name))]
    if isinstance(value, list):
        return [each for at, held in enumerate(value) for each in paths(held, (*path, at))]
    return [path] if isinstance(value, int | float) else []


def planted(value: Any, path: tuple[Any, ...], wrong: Any) -> Any:
    """A copy with something else at the path."""
    if not path:
        return wrong
    head, *tail = path
    if isinstance(value, dict):
        return {**value, head: planted(value[head], tuple(tail), wrong)}
    return [
        planted(each, tuple(tail), wrong) if at == head else each for at, each in enumerate(value)
    ]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda each: each.name)
def test_one_count_that_is_nonsense_makes_all_of_them_missing(example: Example) -> None:
    for path in paths(example.usage):
        # Seconds have fractions.
        timed = str(path[-1]).endswith("seconds")
        for wrong in WRONG if not timed else [each for each in WRONG if each != 1.5]:
            read = example.read(planted(example.usage, path, wrong))
            # A count that no meter needs may be anything.
            assert read in ({}, example.meters), (path, wrong)


@pytest.mark.parametrize("read", READERS, ids=lambda each: f"{each.__module__}.{each.__name__}")
@given(usage=VALUES)
def test_nothing_raises_and_nothing_is_out_of_bounds(read: Any, usage: object) -> None:
    assert all(type(count) is int and 0 <= count <= COUNT_MAX for count in read(usage).values())


@given(usage=VALUES, example=st.sampled_from(EXAMPLES), data=st.data())
def test_nonsense_in_a_usage_raises_nothing(
    usage: object, example: Example, data: st.DataObject
) -> None:
    where = paths(example.usage)
    path = data.draw(st.sampled_from(where))
    cut = data.draw(st.integers(0, len(path)))

    assert all(
        0 <= count <= COUNT_MAX
        for count in example.read(planted(example.usage, path[:cut], usage)).values()
    )


@pytest.mark.parametrize(
    "usage",
    [
        {
            "prompt_tokens": 5,
            "completion_tokens": 1,
            "prompt_tokens_details": {"cached_tokens": 6},
        },
        {
            "prompt_tokens": 5,
            "completion_tokens": 1,
            "completion_tokens_details": {"reasoning_tokens": 2},
        },
    ],
)
def test_parts_that_exceed_their_sum_are_nonsense(usage: object) -> None:
    assert openai.chat(usage) == {}


@pytest.mark.parametrize("usage", [None, {}, [], "usage", 7])
def test_no_usage_is_missing_and_not_zero(usage: object) -> None:
    assert openai.chat(usage) == {}
    assert anthropic.messages(usage) == {}
    assert google.gemini(usage) == {}
