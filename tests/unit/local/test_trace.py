"""The demo's traces: their shape, their pace, and files that cannot be read."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path

import pytest

from local.demo import trace
from local.errors import LocalError

HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens\n"


def test_the_generated_trace_has_the_asked_rate_and_length() -> None:
    arrivals = trace.generate(seed=1, rate=10, seconds=20)

    assert len(arrivals) == 200
    assert arrivals[-1].at_seconds == 20
    assert [call.at_seconds for call in arrivals] == sorted(call.at_seconds for call in arrivals)


def test_the_generated_trace_is_bursty() -> None:
    arrivals = trace.generate(seed=1, rate=20, seconds=100)
    counts = Counter(int(call.at_seconds) for call in arrivals)
    mean = len(arrivals) / 100
    variance = sum((counts[second] - mean) ** 2 for second in range(100)) / 100

    # A Poisson process has 1 here.
    assert variance / mean > 2


def test_few_calls_of_the_generated_trace_hold_most_tokens() -> None:
    lengths = sorted(call.input_tokens for call in trace.generate(seed=1, rate=20, seconds=100))

    assert sum(lengths[-400:]) > 0.4 * sum(lengths)
    assert min(lengths) >= 1
    assert max(lengths) <= trace.TOKENS_MAX


def test_the_same_seed_gives_the_same_trace() -> None:
    again = trace.generate(seed=7, rate=5, seconds=10)

    assert again == trace.generate(seed=7, rate=5, seconds=10)
    assert again != trace.generate(seed=8, rate=5, seconds=10)


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
def test_a_file_is_stretched_and_keeps_its_shape(tmp_path: Path, suffix: str) -> None:
    rows = "".join(
        f"2023-01-01 00:00:{second:02}.1234567,{second + 10},{second + 1}\n"
        for second in (0, 1, 4, 9, 50)
    )
    path = tmp_path / f"trace{suffix}"
    data = (HEADER + rows).encode()
    path.write_bytes(gzip.compress(data) if suffix == ".csv.gz" else data)

    arrivals = trace.load(path, rate=2, seconds=2)

    assert [round(call.at_seconds, 6) for call in arrivals] == [0, 0.222222, 0.888889, 2]
    assert [call.input_tokens for call in arrivals] == [10, 11, 14, 19]
    assert [call.output_tokens for call in arrivals] == [1, 2, 5, 10]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("TIMESTAMP,ContextTokens\n", "lacks the columns GeneratedTokens"),
        (HEADER, "has no rows"),
        (HEADER + "2023-01-01,1,2\nyesterday,1,2\n", "bad line 3"),
        (HEADER + "2023-01-01,many,2\n", "bad line 2"),
        (HEADER + "2023-01-01,1\n", "bad line 2"),
    ],
)
def test_an_unreadable_file_is_one_clear_error(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(text)

    with pytest.raises(LocalError, match=message):
        trace.load(path, rate=1, seconds=10)


def test_a_missing_file_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="cannot read the trace"):
        trace.load(tmp_path / "none.csv", rate=1, seconds=1)
