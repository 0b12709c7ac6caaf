"""Draws a run: what callers got second by second, and how the breakers stood."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Final

from bench.outage.callers import Seen
from bench.outage.evidence import Move
from bench.outage.script import Window
from local.demo.stage import ANTHROPIC, OPENAI

WIDTH: Final = 1040
LEFT: Final = 128
RIGHT: Final = 24
TOP: Final = 92
PANEL_HEIGHT: Final = 220
LANE_HEIGHT: Final = 14
LANE_GAP: Final = 5
BUCKET_COUNT_MAX: Final = 240
INK: Final = "#444444"
TROUBLE: Final = "#f3e9e4"
# What callers got, from the bottom of the stack to its top.
OUTCOMES: Final = {
    "answered by gpt-4o-mini": "#4c7a5a",
    "answered by claude-haiku": "#7aa2c8",
    "the fallback text": "#d9bd4a",
    "a broken stream, ended by it": "#d98f4e",
    "an error": "#b3402a",
}
STATES: Final = {"closed": "#d5e4d9", "half-open": "#d9bd4a", "open": "#b3402a"}


def draw(
    windows: Sequence[Window], seen: Sequence[Seen], moves: Sequence[Move], *, seconds: float
) -> str:
    """Returns an SVG picture of so many seconds."""
    scale = _Scale(seconds)
    lanes = _lanes(moves)
    lanes_top = TOP + PANEL_HEIGHT + 46
    bottom = lanes_top + len(lanes) * (LANE_HEIGHT + LANE_GAP)
    height = bottom + 42
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="sans-serif" font-size="11" fill="{INK}">\n'
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>\n'
    )
    parts = [
        head,
        _text(LEFT, 20, _title(seen, seconds), size=14, anchor="start"),
        *_legend(OUTCOMES, 40),
        *_bands(windows, scale, bottom),
        *_stack(seen, scale),
        *_axis(scale, TOP + PANEL_HEIGHT),
        *_draw_lanes(lanes, scale, lanes_top),
        *_legend({f"breaker {name}": color for name, color in STATES.items()}, bottom + 24),
        "</svg>\n",
    ]
    return "".join(parts)


class _Scale:
    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.bucket = max(1.0, math.ceil(seconds / BUCKET_COUNT_MAX))

    def x(self, at: float) -> float:
        """Where a moment is drawn."""
        share = min(max(at / self.seconds, 0.0), 1.0)
        return LEFT + (WIDTH - LEFT - RIGHT) * share

    def width(self, start: float, end: float) -> float:
        """How wide a stretch of time is."""
        return self.x(end) - self.x(start)


def _title(seen: Sequence[Seen], seconds: float) -> str:
    errors = sum(each.outcome == "error" for each in seen)
    length = f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} seconds"
    return (
        f"{len(seen):,} calls in {length} of outages of {OPENAI[0]}: "
        f"callers saw {errors or 'no'} error{'' if errors == 1 else 's'}"
    )


def kind_of(seen: Seen) -> str:
    """Returns which of the outcomes it was."""
    return {
        "fallback": "the fallback text",
        "cut": "a broken stream, ended by it",
        "error": "an error",
    }.get(seen.outcome, f"answered by {seen.model}")


def _bands(windows: Sequence[Window], scale: _Scale, bottom: float) -> Iterator[str]:
    last_name, row = "", 0
    for each in windows:
        name = each.phase.name
        if not name:
            continue
        yield (
            f'<rect x="{scale.x(each.start):.1f}" y="{TOP - 6}" '
            f'width="{scale.width(each.start, each.end):.1f}" height="{bottom - TOP + 6:.1f}" '
            f'fill="{TROUBLE}"/>'
        )
        if name != last_name:
            # Neighbours may be narrower than their names.
            row = 1 - row
            y = TOP - (12 if row else 26)
            yield _text(scale.x(each.start), y, name, anchor="start", color=STATES["open"])
        last_name = name


def _stack(seen: Sequence[Seen], scale: _Scale) -> Iterator[str]:
    count = math.ceil(scale.seconds / scale.bucket)
    heights = {name: [0.0] * count for name in OUTCOMES}
    for each in seen:
        bucket = min(int(each.ended / scale.bucket), count - 1)
        heights[kind_of(each)][bucket] += 1 / scale.bucket
    totals = [sum(column) for column in zip(*heights.values(), strict=True)]
    top = max([*totals, 1.0])
    floor = [0.0] * count
    for name, color in OUTCOMES.items():
        ceiling = [low + high for low, high in zip(floor, heights[name], strict=True)]
        yield _area(floor, ceiling, top, color, scale)
        floor = ceiling
    yield _text(LEFT - 8, TOP + 8, f"{top:.0f}/s", anchor="end")
    yield _text(LEFT - 8, TOP + PANEL_HEIGHT, "0", anchor="end")
    yield _text(LEFT - 8, TOP + PANEL_HEIGHT / 2, "calls a second", anchor="end")


def _area(
    floor: Sequence[float], ceiling: Sequence[float], top: float, color: str, scale: _Scale
) -> str:
    """Returns steps between two lines, without the stretches where they are one."""
    path = []
    for index, (low, high) in enumerate(zip(floor, ceiling, strict=True)):
        if high <= low:
            continue
        x = scale.x(index * scale.bucket)
        # Neighbours overlap a little, or the paper shines through.
        width = scale.width(index * scale.bucket, (index + 1) * scale.bucket) + 0.6
        y = TOP + PANEL_HEIGHT * (1 - high / top)
        path.append(
            f"M{x:.1f},{y:.1f}h{width:.1f}v{PANEL_HEIGHT * (high - low) / top:.1f}h-{width:.1f}z"
        )
    return f'<path d="{"".join(path)}" fill="{color}" shape-rendering="crispEdges"/>\n'


def _axis(scale: _Scale, y: float) -> Iterator[str]:
    step = next(each for each in (10, 30, 60, 120, 300, 600) if scale.seconds / each <= 18)
    yield f'<line x1="{LEFT}" y1="{y}" x2="{WIDTH - RIGHT}" y2="{y}" stroke="{INK}"/>\n'
    for at in range(0, int(scale.seconds) + 1, step):
        x = scale.x(at)
        yield f'<line x1="{x:.1f}" y1="{y}" x2="{x:.1f}" y2="{y + 4}" stroke="{INK}"/>'
        yield _text(x, y + 16, f"{at // 60} min" if step % 60 == 0 else f"{at} s")


def _lanes(moves: Sequence[Move]) -> Mapping[tuple[str, str], Sequence[Move]]:
    """Groups the moves by breaker: each provider, then its parts; the one that fails first."""
    lanes: dict[tuple[str, str], list[Move]] = {}
    for provider in (OPENAI[0], ANTHROPIC[0]):
        own = [move for move in moves if move.provider == provider]
        for part in ("", *sorted({move.part for move in own if move.part}, reverse=True)):
            lanes[provider, part] = [move for move in own if move.part == part]
    return lanes


def _draw_lanes(
    lanes: Mapping[tuple[str, str], Sequence[Move]], scale: _Scale, top: float
) -> Iterator[str]:
    for row, ((provider, part), moves) in enumerate(lanes.items()):
        y = top + row * (LANE_HEIGHT + LANE_GAP)
        name = part or provider
        yield _text(LEFT - 8, y + LANE_HEIGHT - 3, name, anchor="end")
        state, since = "closed", 0.0
        for move in moves:
            yield _lane(state, since, move.at, y, scale)
            state, since = move.after, move.at
        yield _lane(state, since, scale.seconds, y, scale)


def _lane(state: str, start: float, end: float, y: float, scale: _Scale) -> str:
    # A state that lasts for a moment must be seen, too.
    width = max(scale.width(start, end), 1.5 if state == "half-open" else 0.0)
    return (
        f'<rect x="{scale.x(start):.1f}" y="{y}" width="{width:.1f}" height="{LANE_HEIGHT}" '
        f'fill="{STATES[state]}"/>'
    )


def _legend(entries: Mapping[str, str], y: float) -> Iterator[str]:
    x = float(LEFT)
    for name, color in entries.items():
        yield f'<rect x="{x:.1f}" y="{y - 9}" width="10" height="10" fill="{color}"/>'
        yield _text(x + 15, y, name, anchor="start")
        x += 15 + 5.6 * len(name) + 22


def _text(
    x: float, y: float, text: str, *, anchor: str = "middle", color: str = INK, size: int = 11
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{color}" '
        f'font-size="{size}">{escape(text)}</text>\n'
    )
