"""What the shapes of `bench.admit` should reach on a quiet machine, and whether they did."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from bench.load import Sample

Samples = Mapping[str, Sample]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One figure that should be at least, or below, a bound."""

    text: str
    # Shapes that must have been measured.
    shapes: tuple[str, ...]
    figure: Callable[[Samples], float]
    bound: float
    at_least: bool = False
    unit: str = ""

    def is_met(self, samples: Samples) -> bool:
        """Tells whether the figure is on the right side of the bound."""
        value = self.figure(samples)
        return value >= self.bound if self.at_least else value < self.bound


def _ratio(name: str, to: str) -> Callable[[Samples], float]:
    return lambda samples: samples[name].rate / samples[to].rate


def _percentile(name: str, percent: float) -> Callable[[Samples], float]:
    return lambda samples: samples[name].percentile_ms(percent)


TARGETS: Final = (
    Target(
        text="64 callers: share of the echo's rate",
        shapes=("unary-64", "echo-64"),
        figure=_ratio("unary-64", "echo-64"),
        bound=0.6,
        at_least=True,
    ),
    Target(
        text="1,000 callers: p95 over the echo's",
        shapes=("unary-1000", "echo-1000"),
        figure=lambda samples: (
            samples["unary-1000"].percentile_ms(95) / samples["echo-1000"].percentile_ms(95)
        ),
        bound=1.5,
    ),
    Target(
        text="open loop, 2,000/s: p95",
        shapes=("open-2000",),
        figure=_percentile("open-2000", 95),
        bound=200,
        unit=" ms",
    ),
    Target(
        text="batches of 32",
        shapes=("batch-32",),
        figure=lambda samples: samples["batch-32"].rate,
        bound=12_000,
        at_least=True,
        unit="/s",
    ),
    Target(
        text="batches of 32 that are denied: rate over that of admitted ones",
        shapes=("denied-32", "batch-32"),
        figure=_ratio("denied-32", "batch-32"),
        bound=0.9,
        at_least=True,
    ),
    Target(
        text="open loop, 1,000/s on one org: p99",
        shapes=("open-1000-hot",),
        figure=_percentile("open-1000-hot", 99),
        bound=15,
        unit=" ms",
    ),
    Target(
        text="open loop, 2,000/s on one org: p99",
        shapes=("open-2000-hot",),
        figure=_percentile("open-2000-hot", 99),
        bound=60,
        unit=" ms",
    ),
    Target(
        text="one caller: p50",
        shapes=("unary-1",),
        figure=_percentile("unary-1", 50),
        bound=3,
        unit=" ms",
    ),
    Target(
        text="one hot org: rate of two admissions over that of one",
        shapes=("admissions-2", "admissions-1"),
        figure=_ratio("admissions-2", "admissions-1"),
        bound=1,
        at_least=True,
    ),
    Target(
        text="errors",
        shapes=(),
        figure=lambda samples: sum(each.error_count for each in samples.values()),
        bound=1,
    ),
)


def judge(samples: Samples) -> list[tuple[str, str, str, bool]]:
    """Returns text, bound, figure and whether it was met, of all targets that were measured."""
    return [
        (
            target.text,
            f"{'≥' if target.at_least else '<'} {target.bound:,g}{target.unit}",
            f"{target.figure(samples):,.4g}{target.unit}",
            target.is_met(samples),
        )
        for target in TARGETS
        if all(samples.get(name) and samples[name].latencies for name in target.shapes)
    ]
