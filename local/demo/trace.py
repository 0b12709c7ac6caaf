"""When calls arrive and how long they are: generated, or read from a file.

The generated trace has the two traits of real traffic that matter here: arrivals come in bursts,
and lengths are lognormal, so that few calls hold most of the tokens.
"""

from __future__ import annotations

import csv
import gzip
import itertools
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, TextIO

from local.errors import LocalError

# Longer calls are cut to this: the stand-in counts words, and the demo sends them over loopback.
TOKENS_MAX: Final = 8_000
# Medians and spreads (standard deviation of the logarithm) of the generated lengths.
INPUT_MEDIAN: Final = 600
INPUT_SIGMA: Final = 0.9
OUTPUT_MEDIAN: Final = 120
OUTPUT_SIGMA: Final = 0.8
# Arrivals change between calm and burst, each this long on average; a burst is so much denser.
PHASE_SECONDS: Final = 3.0
BURST_FACTOR: Final = 4.0
COLUMNS: Final = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One call that is to be made."""

    # Seconds after the start of the run.
    at_seconds: float
    input_tokens: int
    output_tokens: int


def generate(*, seed: int, rate: float, seconds: float) -> list[Arrival]:
    """Returns a seeded trace with `rate` calls a second on average."""
    chance = random.Random(f"trace:{seed}")
    count = max(round(rate * seconds), 1)
    times = list(itertools.islice(_bursts(chance), count))
    lengths = [
        (
            chance.lognormvariate(math.log(INPUT_MEDIAN), INPUT_SIGMA),
            chance.lognormvariate(math.log(OUTPUT_MEDIAN), OUTPUT_SIGMA),
        )
        for _ in times
    ]
    return _fit(times, lengths, seconds=seconds)


def load(path: Path, *, rate: float, seconds: float) -> list[Arrival]:
    """Reads a CSV (.csv or .csv.gz) with the columns TIMESTAMP, ContextTokens, GeneratedTokens.

    Takes its first rate * seconds rows, all if there are fewer, and stretches them to `seconds`:
    the shape stays, the pace changes. Raises `LocalError` naming the row that cannot be read.
    """
    count = max(round(rate * seconds), 1)
    try:
        with _open(path) as file:
            rows = list(itertools.islice(_rows(file, path), count))
    except (OSError, UnicodeDecodeError) as error:
        raise LocalError(f"cannot read the trace {path}: {error}") from error
    if not rows:
        raise LocalError(f"the trace {path} has no rows")
    rows.sort()
    times = [row[0] - rows[0][0] for row in rows]
    return _fit(times, [(row[1], row[2]) for row in rows], seconds=seconds)


def _bursts(chance: random.Random) -> Iterator[float]:
    """Yields arrival times of a Poisson process whose rate switches between 1 and BURST_FACTOR."""
    now, phase_end, rate = 0.0, 0.0, BURST_FACTOR
    while True:
        if now >= phase_end:
            rate = 1.0 if rate == BURST_FACTOR else BURST_FACTOR
            phase_end = now + chance.expovariate(1 / PHASE_SECONDS)
        now += chance.expovariate(rate)
        yield now


def _fit(
    times: Sequence[float], lengths: Sequence[tuple[float, float]], *, seconds: float
) -> list[Arrival]:
    span = max(times[-1], 1e-9)
    return [
        Arrival(
            at_seconds=max(time, 0.0) * seconds / span,
            input_tokens=min(max(math.ceil(length[0]), 1), TOKENS_MAX),
            output_tokens=min(max(math.ceil(length[1]), 1), TOKENS_MAX),
        )
        for time, length in zip(times, lengths, strict=True)
    ]


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return path.open(encoding="utf-8", newline="")


def _rows(file: TextIO, path: Path) -> Iterator[tuple[float, int, int]]:
    reader = csv.DictReader(file)
    missing = set(COLUMNS) - set(reader.fieldnames or ())
    if missing:
        raise LocalError(f"the trace {path} lacks the columns {', '.join(sorted(missing))}")
    for number, row in enumerate(reader, start=2):
        try:
            time = datetime.fromisoformat(row[COLUMNS[0]]).timestamp()
            lengths = int(row[COLUMNS[1]]), int(row[COLUMNS[2]])
        except (TypeError, ValueError) as error:
            raise LocalError(f"the trace {path} has a bad line {number}: {error}") from error
        yield time, *lengths
