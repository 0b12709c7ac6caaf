"""The verdict on an outage finds each lie, and the timeline shows what happened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from bench.outage import timeline, verdict
from bench.outage.callers import ONE, TWO, Seen, count
from bench.outage.evidence import Billed, Booked, Evidence, Move
from bench.outage.script import FULL, SHORT, Phase, Window

OPENAI, ANTHROPIC = ("demo-openai", "gpt-4o-mini"), ("demo-anthropic", "claude-haiku")
DOWN = Phase(name="hard down", seconds=10, out=True, opens=True, cuts=True)
THROTTLED = Phase(name="429", seconds=10, trouble={"retry_after_seconds": 3})
WINDOWS = [
    Window(phase=Phase(name="", seconds=10), start=0, end=10),
    Window(phase=DOWN, start=10, end=20),
    Window(phase=THROTTLED, start=30, end=40),
]
SVG = "{http://www.w3.org/2000/svg}"


def saw(at: float, outcome: str, call_id: str = "", **changed: object) -> Seen:
    provider, model = OPENAI if outcome in ("answered", "cut") else ("", "")
    seen = Seen(
        began=at,
        ended=at + 0.5,
        org="acme",
        operation=ONE,
        streams=False,
        outcome=outcome,
        call_id=call_id,
        provider=provider,
        model=model,
    )
    return replace(seen, **changed)  # type: ignore[arg-type]  # by field name


def booked(call_id: str, at: float, *, nanos: int = 7, outcome: int = 1) -> Booked:
    return Booked(
        call_id=call_id,
        provider=OPENAI[0],
        model=OPENAI[1],
        outcome=outcome,
        nanos=nanos,
        admitted=at,
    )


def moved(at: float, epoch: int, before: str, after: str, cause: str = "failures") -> Move:
    return Move(
        at=at,
        provider=OPENAI[0],
        part="",
        epoch=epoch,
        before=before,
        after=after,
        cause=cause,
        actor="",
    )


SEEN = [
    saw(1, "answered", "a"),
    saw(12, "fallback"),
    saw(9.8, "cut", "b", streams=True),
    saw(31, "fallback"),
    saw(32, "answered", "d"),
    saw(33, "answered", "e"),
]
MOVES = [
    moved(11, 1, "closed", "open"),
    moved(21, 2, "open", "half-open", "time"),
    moved(21.1, 3, "half-open", "closed", "probes-succeeded"),
]
EVIDENCE = Evidence(
    booked=[
        booked("a", 1),
        booked("b", 9.8, nanos=0, outcome=2),
        booked("c", 31, nanos=0, outcome=5),
        booked("d", 32),
        booked("e", 33),
    ],
    billed=[Billed(call_id=name, provider=OPENAI[0], model=OPENAI[1], nanos=7) for name in "ade"],
    moves=MOVES,
    unwell=[],
)


def with_seen(*more: Seen) -> tuple[list[Seen], Evidence]:
    return [*SEEN, *more], EVIDENCE


def with_moves(*moves: Move) -> tuple[list[Seen], Evidence]:
    return SEEN, replace(EVIDENCE, moves=moves)


def with_booked(change: Callable[[Booked], Booked | None]) -> tuple[list[Seen], Evidence]:
    rows = [row for each in EVIDENCE.booked if (row := change(each)) is not None]
    return SEEN, replace(EVIDENCE, booked=rows)


def test_a_run_in_which_all_is_well_breaks_no_promise() -> None:
    assert verdict.judge(WINDOWS, SEEN, EVIDENCE) == []


@pytest.mark.parametrize(
    ("lie", "text"),
    [
        (([], EVIDENCE), "nobody called"),
        (with_seen(saw(2, "error", error="boom")), "a caller saw an error"),
        (with_seen(saw(12, "fallback", operation=TWO)), "though another model was well"),
        (with_seen(saw(2, "cut", "a", streams=True)), "though the provider cut none"),
        (with_moves(*(replace(each, at=each.at + 25) for each in MOVES)), "did not open"),
        (with_moves(MOVES[0]), "no probe closed"),
        (with_moves(MOVES[0], replace(MOVES[1], actor="staff"), MOVES[2]), "a person moved"),
        (with_moves(*MOVES, moved(22, 4, "closed", "half-open")), "a way that there is not"),
        (with_moves(MOVES[0], MOVES[2]), "a gap"),
        (with_moves(MOVES[0], replace(MOVES[1], epoch=1), MOVES[2]), "a gap"),
        (with_moves(*MOVES[:2], replace(MOVES[2], cause="time")), "closed without a probe"),
        ((SEEN, replace(EVIDENCE, unwell=["demo-openai"])), "not closed at the end"),
        (with_booked(lambda row: row if row.call_id != "c" else None), "nobody was throttled"),
        (with_booked(lambda row: replace(row, outcome=5)), "wanted to be left alone"),
        (with_booked(lambda row: row if row.call_id != "a" else None), "billed and not booked"),
        (with_booked(lambda row: replace(row, nanos=row.nanos + 1)), "billed as"),
        (with_booked(lambda row: replace(row, nanos=3)), "booked and not billed"),
        (with_booked(lambda row: replace(row, outcome=2)), "an answer is not booked"),
        (
            (SEEN, replace(EVIDENCE, booked=[*EVIDENCE.booked, booked("a", 1)])),
            "booked twice",
        ),
        (
            ([replace(SEEN[0], model="another"), *SEEN[1:]], EVIDENCE),
            "booked on another model",
        ),
    ],
)
def test_each_lie_is_found(lie: tuple[list[Seen], Evidence], text: str) -> None:
    assert any(text in each for each in verdict.judge(WINDOWS, *lie))


def test_a_refusal_that_is_only_told_is_no_change_of_state() -> None:
    told = replace(MOVES[2], before="closed", at=25, cause="credential-refused")
    assert verdict.judge(WINDOWS, *with_moves(*MOVES, told)) == []


def test_a_fallback_is_needed_while_the_other_provider_is_out_for_that_org() -> None:
    refused = saw(12, "fallback", operation=TWO)
    slow = replace(MOVES[0], provider="demo-anthropic", part="key of acme", at=11.5)

    def findings(moves: list[Move], incident_count: int = 0) -> list[str]:
        evidence = replace(EVIDENCE, moves=[*MOVES, *moves])
        return verdict.judge(WINDOWS, [*SEEN, refused], evidence, incident_count=incident_count)

    assert findings([slow]) == []
    assert findings([], incident_count=1) == []
    assert findings([replace(slow, part="key of globex")]) != []
    assert findings([replace(slow, at=13)]) != []
    # Nobody asked it to close again, as far as this history goes.
    assert findings([replace(slow, provider="demo-openai", at=11.5, epoch=9)]) != []


def test_sums_are_by_model() -> None:
    assert verdict.sums(EVIDENCE) == {"demo-openai/gpt-4o-mini": {"booked": 21, "billed": 21}}
    assert count(SEEN) == {"answered gpt-4o-mini": 3, "cut gpt-4o-mini": 1, "fallback": 2}


def test_the_picture_shows_phases_outcomes_and_breakers() -> None:
    error = saw(2, "error")
    picture = timeline.draw(WINDOWS, [*SEEN, error], MOVES, seconds=40)
    root = ElementTree.fromstring(picture)

    texts = {each.text for each in root.iter(f"{SVG}text")}
    assert {"hard down", "429", "demo-openai", "demo-anthropic", "10 s", "breaker open"} <= texts
    assert "7 calls in 40 seconds of outages of demo-openai: callers saw 1 error" in texts
    fills = [each.get("fill") for each in root.iter(f"{SVG}rect")]
    # Errors have the same colour in the other legend.
    assert fills.count(timeline.STATES["open"]) == 3
    assert fills.count(timeline.TROUBLE) == 2
    assert all(each.get("d") for each in root.iter(f"{SVG}path") if each.get("fill") != "#7aa2c8")


def test_the_script_has_every_kind_of_trouble() -> None:
    for script in (SHORT, FULL):
        names = [phase.name for phase in script.phases]
        assert len(set(names)) == 7
        assert names.count("flapping") >= 2
    assert {phase.seconds for phase in FULL.phases if phase.name == "flapping"} == {60}
    assert SHORT.seconds < 80
    assert 900 < FULL.seconds < 1_200
