"""The picture of the curves is well-formed and shows every figure."""

from __future__ import annotations

from xml.etree import ElementTree

from bench.curves import Point, draw

CURVE = [
    Point(size=10, cpu_us={"postgres": 40.0, "admission": 60.0}, p50_ms=3.0, p99_ms=9.0),
    Point(size=10_000, cpu_us={"postgres": 55.0, "admission": 61.0}, p50_ms=3.5, p99_ms=9.0),
]


def test_each_size_has_its_bar_its_cost_and_its_dot() -> None:
    root = ElementTree.fromstring(draw({"orgs & more": CURVE}))

    texts = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"orgs & more", "10", "10,000", "100 µs", "116 µs"} <= set(texts)
    assert len(list(root.iter("{http://www.w3.org/2000/svg}circle"))) == len(CURVE)


def test_higher_costs_are_drawn_higher_and_stay_on_the_panel() -> None:
    root = ElementTree.fromstring(draw({"orgs": CURVE}))

    bars = [
        float(each.get("height", "0"))
        for each in root.iter("{http://www.w3.org/2000/svg}rect")
        if each.get("width") == "44" and each.get("fill") == "#7aa2c8"
    ]
    assert len(bars) == len(CURVE)
    assert bars[0] < bars[1] < 200
