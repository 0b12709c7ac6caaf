"""Draws the curves of `bench.scale`: processor time and latency of a call over what there is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Final, NamedTuple

PANEL_WIDTH: Final = 300
PANEL_HEIGHT: Final = 200
MARGIN: Final = 46
# Processes, from the bottom of the stack to its top.
PARTS: Final = {"postgres": "#7aa2c8", "accounting": "#c9b458", "admission": "#4c7a5a"}
LINE: Final = "#b3402a"
INK: Final = "#555555"


class Point(NamedTuple):
    """What a call cost at one size."""

    size: int
    # Microseconds of processor time, by process.
    cpu_us: Mapping[str, float]
    p50_ms: float
    p99_ms: float


def draw(curves: Mapping[str, Sequence[Point]]) -> str:
    """Returns an SVG picture with one panel for each curve, by its title."""
    width = MARGIN + (PANEL_WIDTH + MARGIN) * max(len(curves), 1)
    height = PANEL_HEIGHT + 3 * MARGIN
    points = [point for curve in curves.values() for point in curve]
    cpu_max = _nice(max((sum(point.cpu_us.values()) for point in points), default=1))
    time_max = _nice(max((point.p50_ms for point in points), default=1))
    panels = "".join(
        f'<g transform="translate({MARGIN + position * (PANEL_WIDTH + MARGIN)} {MARGIN})">'
        f"{_panel(title, curve, cpu_max, time_max)}</g>"
        for position, (title, curve) in enumerate(curves.items())
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'font-family="sans-serif" font-size="11" fill="{INK}">\n'
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>\n{panels}'
        f"{_legend(width, height - MARGIN / 2)}</svg>\n"
    )


def _panel(title: str, curve: Sequence[Point], cpu_max: float, time_max: float) -> str:
    xs = [PANEL_WIDTH * (index + 0.5) / len(curve) for index in range(len(curve))]
    bars = "".join(_bar(x, point, cpu_max) for x, point in zip(xs, curve, strict=True))
    line = " ".join(
        f"{x:.1f},{PANEL_HEIGHT * (1 - point.p50_ms / time_max):.1f}"
        for x, point in zip(xs, curve, strict=True)
    )
    dots = "".join(
        f'<circle cx="{pair.split(",")[0]}" cy="{pair.split(",")[1]}" r="3" fill="{LINE}"/>'
        for pair in line.split()
    )
    sizes = "".join(
        _text(x, PANEL_HEIGHT + 16, f"{point.size:,}") for x, point in zip(xs, curve, strict=True)
    )
    return (
        f"{_text(PANEL_WIDTH / 2, -22, title)}{_axis(cpu_max, time_max)}{bars}"
        f'<polyline points="{line}" fill="none" stroke="{LINE}" stroke-width="2"/>{dots}{sizes}\n'
    )


def _bar(x: float, point: Point, cpu_max: float) -> str:
    parts, top = [], float(PANEL_HEIGHT)
    for name, color in PARTS.items():
        height = PANEL_HEIGHT * point.cpu_us.get(name, 0.0) / cpu_max
        top -= height
        parts.append(
            f'<rect x="{x - 22:.1f}" y="{top:.1f}" width="44" height="{height:.1f}" '
            f'fill="{color}"/>'
        )
    total = sum(point.cpu_us.values())
    return "".join(parts) + _text(x, top - 4, f"{total:.0f} µs")


def _axis(cpu_max: float, time_max: float) -> str:
    return (
        f'<line x1="0" y1="{PANEL_HEIGHT}" x2="{PANEL_WIDTH}" y2="{PANEL_HEIGHT}" '
        f'stroke="{INK}"/>'
        + _text(0, -6, f"{cpu_max:g} µs", anchor="start")
        + _text(PANEL_WIDTH, -6, f"{time_max:g} ms", anchor="end", color=LINE)
    )


def _legend(width: float, y: float) -> str:
    entries = [(f"{name}, µs of CPU a call", color) for name, color in PARTS.items()]
    entries.append(("median of a batch, ms", LINE))
    step = (width - 2 * MARGIN) / len(entries)
    return "".join(
        f'<rect x="{MARGIN + index * step:.1f}" y="{y - 9}" width="10" height="10" '
        f'fill="{color}"/>' + _text(MARGIN + index * step + 16, y, text, anchor="start")
        for index, (text, color) in enumerate(entries)
    )


def _text(x: float, y: float, text: str, *, anchor: str = "middle", color: str = INK) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{color}">'
        f"{escape(text)}</text>"
    )


def _nice(value: float) -> float:
    """Returns the next of 1, 2, 5 times a power of ten: the end of an axis."""
    power = 10.0 ** math.floor(math.log10(max(value, 1e-9)))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value)
