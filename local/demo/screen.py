"""What the audience sees while the demo runs: a live table, or plain lines without a terminal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

import headgate
from headgate.api.gateway.v1 import gateway_pb2
from local.demo.acts import name_breaker
from local.demo.tally import Tally

FRAME_SECONDS: Final = 0.25
# Between two summaries without a terminal.
LINE_SECONDS: Final = 5.0
_STYLES: Final = {"closed": "green", "open": "bold red", "half-open": "yellow"}


@dataclass(slots=True, kw_only=True)
class Picture:
    """Everything that is shown."""

    tally: Tally
    phase: str = "setting up"
    # State by provider, of the demo's own providers.
    breakers: dict[str, str] = field(default_factory=dict)
    # What callers are told while calls are stopped.
    kill_message: str = ""
    # The gateway's copy of health may be old.
    stale: bool = False

    def observe(self, status: gateway_pb2.GetStatusResponse) -> None:
        """Takes over what a gateway knows."""
        self.breakers = {
            each.provider: name_breaker(each.state)
            for each in status.providers
            if each.provider.startswith("demo-")
        }
        self.kill_message = next((each.message for each in status.kills), "")
        self.stale = status.stale


@asynccontextmanager
async def shown(console: Console, picture: Picture) -> AsyncIterator[None]:
    """Shows the picture for as long as the block runs, its last state included."""
    play = _animate if console.is_terminal else _print_lines
    showing = asyncio.create_task(play(console, picture))
    try:
        yield
    finally:
        showing.cancel()
        with suppress(asyncio.CancelledError):
            await showing


def render(picture: Picture) -> RenderableType:
    """Returns the live table with its header and the latest events."""
    table = Table(expand=True)
    table.add_column("org")
    table.add_column("admitted", justify="right")
    table.add_column("failed over", justify="right")
    table.add_column("denied, and why")
    table.add_column("ended")
    table.add_column("booked", justify="right")
    for name, org in sorted(picture.tally.orgs.items()):
        table.add_row(
            name,
            f"{org.admitted:,}",
            f"{org.failed_over:,}",
            _counts(org.denied),
            _counts(org.completed),
            headgate.format_usd(org.booked_nanos),
        )
    events = Text("\n".join(picture.tally.events))
    return Group(_render_header(picture), table, _render_breakers(picture), events)


def summarize(picture: Picture) -> str:
    """Returns the picture as one line."""
    orgs = picture.tally.orgs.values()
    unfit = [f"{name} {state}" for name, state in picture.breakers.items() if state != "closed"]
    return (
        f"{picture.phase}: {sum(each.admitted for each in orgs):,} admitted,"
        f" {sum(sum(each.denied.values()) for each in orgs):,} denied,"
        f" {sum(each.failed_over for each in orgs):,} failed over,"
        f" {headgate.format_usd(sum(each.booked_nanos for each in orgs))} booked,"
        f" breakers: {', '.join(unfit) or 'all closed'}"
        f"{', STOPPED' if picture.kill_message else ''}"
    )


async def _animate(console: Console, picture: Picture) -> None:
    with Live(console=console, auto_refresh=False, transient=False) as live:
        try:
            while True:
                live.update(render(picture), refresh=True)
                await asyncio.sleep(FRAME_SECONDS)
        finally:
            live.update(render(picture), refresh=True)


async def _print_lines(console: Console, picture: Picture) -> None:
    printed, next_line = 0, LINE_SECONDS
    loop = asyncio.get_running_loop()
    start = loop.time()
    try:
        while True:
            printed = _print_events(console, picture.tally, printed)
            if loop.time() - start >= next_line:
                next_line += LINE_SECONDS
                console.print(summarize(picture), highlight=False, soft_wrap=True)
            await asyncio.sleep(FRAME_SECONDS)
    finally:
        _print_events(console, picture.tally, printed)


def _print_events(console: Console, tally: Tally, printed: int) -> int:
    """Prints the events after the first `printed` ones; returns how many there are."""
    fresh = min(tally.event_count - printed, len(tally.events))
    for event in list(tally.events)[len(tally.events) - fresh :]:
        console.print(event, highlight=False, markup=False, soft_wrap=True)
    return tally.event_count


def _render_header(picture: Picture) -> Text:
    tally = picture.tally
    header = Text(
        f"{picture.phase} · {tally.rate():.0f} calls/s · AdmitCall p50"
        f" {tally.latency_ms(0.5):.0f} ms, p99 {tally.latency_ms(0.99):.0f} ms"
        f" · {tally.fallback_count} fallback texts"
    )
    if picture.kill_message:
        header.append(f"  STOPPED: {picture.kill_message}", style="bold red")
    if picture.stale:
        header.append("  STALE", style="bold yellow")
    return header


def _render_breakers(picture: Picture) -> Text:
    line = Text("breakers: ")
    for name, state in sorted(picture.breakers.items()):
        line.append(f"{name} ")
        line.append(state, style=_STYLES.get(state, ""))
        line.append("  ")
    return line


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in sorted(counts.items()))
