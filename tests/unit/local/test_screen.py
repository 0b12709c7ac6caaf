"""The live table and the plain lines: both show who was admitted, who was denied and why."""

from __future__ import annotations

import asyncio
import io

from rich.console import Console

from headgate.api.common.v1 import health_pb2
from headgate.api.gateway.v1 import gateway_pb2
from local.demo.screen import Picture, render, shown, summarize
from local.demo.tally import EVENT_COUNT_MAX, Tally


def picture() -> Picture:
    tally = Tally()
    org = tally.org("demo-acme")
    org.admitted, org.failed_over, org.booked_nanos = 1200, 3, 12_340_000
    org.denied["budget exceeded"] = 4
    org.completed["succeeded"] = 1100
    tally.org("demo-globex").admitted = 7
    status = gateway_pb2.GetStatusResponse()
    status.providers.add(provider="demo-openai", state=health_pb2.BREAKER_STATE_OPEN)
    status.providers.add(provider="demo-google", state=health_pb2.BREAKER_STATE_CLOSED)
    status.providers.add(provider="somebody-else", state=health_pb2.BREAKER_STATE_OPEN)
    shown = Picture(tally=tally, phase="playing")
    shown.observe(status)
    return shown


def text_of(shown: Picture) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(render(shown))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_table_shows_orgs_denials_cost_and_breakers() -> None:
    text = text_of(picture())

    for part in ("demo-acme", "1,200", "4 budget exceeded", "1,100 succeeded", "$0.01234"):
        assert part in text
    assert "demo-openai open" in text
    assert "demo-google closed" in text
    assert "somebody-else" not in text
    assert "STOPPED" not in text


def test_the_table_says_that_calls_are_stopped_and_that_it_may_be_old() -> None:
    status = gateway_pb2.GetStatusResponse(stale=True)
    status.kills.add(kill_id="platform", message="closed for today")
    stopped = picture()
    stopped.observe(status)
    text = text_of(stopped)

    assert "STOPPED: closed for today" in text
    assert "STALE" in text


def test_one_line_says_the_same_in_short() -> None:
    assert summarize(picture()) == (
        "playing: 1,207 admitted, 4 denied, 3 failed over, $0.01234 booked,"
        " breakers: demo-openai open"
    )


async def show(console: Console, shown_picture: Picture) -> None:
    async with shown(console, shown_picture):
        # One turn of the loop, so that showing has begun.
        await asyncio.sleep(0)
        shown_picture.tally.note("the curtain falls")


async def test_without_a_terminal_events_are_plain_lines() -> None:
    output = io.StringIO()
    shown_picture = picture()
    shown_picture.tally.note("the curtain [rises]")
    await show(Console(file=output, width=40), shown_picture)
    lines = output.getvalue().splitlines()

    assert [line.partition(" s  ")[2] for line in lines] == [
        "the curtain [rises]",
        "the curtain falls",
    ]


async def test_more_events_than_are_kept_do_not_repeat_any() -> None:
    output = io.StringIO()
    shown_picture = picture()
    for number in range(2 * EVENT_COUNT_MAX):
        shown_picture.tally.note(f"event {number}")
    await show(Console(file=output, width=80), shown_picture)

    assert len(output.getvalue().splitlines()) == EVENT_COUNT_MAX + 1


async def test_on_a_terminal_the_table_is_drawn_over_and_its_last_state_stays() -> None:
    output = io.StringIO()
    console = Console(file=output, width=120, force_terminal=True, legacy_windows=False)
    await show(console, picture())

    assert "demo-acme" in output.getvalue()
    assert "the curtain falls" in output.getvalue()
