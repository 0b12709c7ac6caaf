from __future__ import annotations

from typing import Any

import pytest

from headgate.meters import METER_COUNT_MAX, Meters


def test_no_usage_is_not_zero_usage() -> None:
    meters = Meters()

    assert not meters
    assert meters.to_message() is None


def test_a_meter_of_zero_is_known_and_others_stay_missing() -> None:
    meters = Meters()
    meters.note(output_token_count=0, input_token_count=None)
    message = meters.to_message()

    assert meters
    assert message is not None
    assert message.HasField("output_token_count")
    assert not message.HasField("input_token_count")


def test_the_last_word_on_each_meter_counts() -> None:
    meters = Meters()
    meters.note(input_token_count=10, output_token_count=1)
    meters.note(output_token_count=5)
    message = meters.to_message()

    assert message is not None
    assert (message.input_token_count, message.output_token_count) == (10, 5)


@pytest.mark.parametrize("count", [-1, METER_COUNT_MAX + 1, 1.5, True, "7", float("nan")])
def test_a_wrong_count_is_refused_and_nothing_is_noted(count: Any) -> None:
    meters = Meters()

    with pytest.raises(ValueError, match="output_token_count is"):
        meters.note(input_token_count=1, output_token_count=count)
    assert not meters
