"""Who calls in the demo, what for, and in which manner."""

from __future__ import annotations

from collections import Counter

from local.demo import trace
from local.demo.stage import ORGS
from local.demo.tally import Tally, quantile_of
from local.demo.traffic import CLASSIFY_TOKENS_MAX, MANNERS, OPERATIONS, write_scripts

ARRIVALS = trace.generate(seed=1, rate=50, seconds=60)


def test_every_arrival_becomes_one_call_at_its_time() -> None:
    scripts = write_scripts(ARRIVALS, seed=1)

    assert [each.at_seconds for each in scripts] == [each.at_seconds for each in ARRIVALS]
    assert [each.input_tokens for each in scripts] == [each.input_tokens for each in ARRIVALS]


def test_the_same_seed_casts_the_same_play() -> None:
    assert write_scripts(ARRIVALS, seed=1) == write_scripts(ARRIVALS, seed=1)
    assert write_scripts(ARRIVALS, seed=1) != write_scripts(ARRIVALS, seed=2)


def test_every_org_operation_and_manner_has_its_share() -> None:
    scripts = write_scripts(ARRIVALS, seed=1)
    count = len(scripts)
    manners = Counter(each.manner for each in scripts)
    operations = Counter(each.operation for each in scripts)

    assert {each.org for each in scripts} == set(ORGS)
    for manner, share in MANNERS.items():
        assert abs(manners[manner] / count - share) < 0.03
    for operation, share in OPERATIONS.items():
        assert abs(operations[operation] / count - share) < 0.03


def test_the_caller_asks_for_more_than_it_expects_and_classifies_briefly() -> None:
    for script in write_scripts(ARRIVALS, seed=1):
        assert script.max_output_tokens > script.output_tokens
        if script.operation == "demo-classify":
            assert script.output_tokens <= CLASSIFY_TOKENS_MAX


def test_latencies_are_counted_for_each_call_of_a_batch() -> None:
    tally = Tally()
    tally.answered(0.004, count=3)
    tally.answered(0.010, count=1)

    assert tally.rate() == 4
    assert tally.latency_ms(0.5) == 4
    assert tally.latency_ms(0.99) == 10


def test_a_quantile_of_nothing_is_nothing() -> None:
    assert quantile_of([], 0.5) == 0
    assert quantile_of([1, 2, 3, 4], 1.0) == 4
