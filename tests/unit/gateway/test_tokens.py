"""Random secrets and their checksums."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway import keys, tokens

MADE = tokens.make("hgx_")


def test_no_two_tokens_are_equal_and_each_is_whole() -> None:
    made = {tokens.make("hgx_") for _ in range(100)}

    assert len(made) == 100
    assert all(tokens.is_whole(each, "hgx_") for each in made)
    assert not any(tokens.is_whole(each, "hgy_") for each in made)
    assert {len(tokens.digest(each)) for each in made} == {32}


@given(st.integers(min_value=0, max_value=len(MADE) - 1), st.characters(codec="utf-8"))
def test_a_token_with_another_character_is_not_whole(position: int, character: str) -> None:
    changed = MADE[:position] + character + MADE[position + 1 :]

    assert tokens.is_whole(changed, "hgx_") is (changed == MADE)


def test_other_texts_are_no_tokens() -> None:
    for text in ("", "hgx_", MADE + "x", MADE[:-1], "é" * len(MADE)):
        assert not tokens.is_whole(text, "hgx_")


def test_a_key_that_was_made_here_is_refused_with_a_typing_error() -> None:
    made = keys.make()
    wrong = made.secret[:-1] + ("A" if made.secret[-1] != "A" else "B")

    assert keys.parse_key_id(made.secret) == made.key_id
    assert keys.parse_key_id(wrong) is None
    assert keys.parse_key_id(f"hg_brought_{'x' * 49}") == "brought"
