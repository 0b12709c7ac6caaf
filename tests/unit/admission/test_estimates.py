"""What adaptive estimates learn, and what they hold."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

import pytest

from services.admission.domain.calls import CallKey, Reservation, State
from services.admission.domain.estimates import Amounts, adapt, bucket_of, percentile

NOON = dt.datetime(2026, 5, 17, 12, tzinfo=dt.UTC)


def make_ended(**fields: Any) -> Reservation:
    defaults: dict[str, Any] = {
        "key": CallKey("acme", uuid.UUID(int=1)),
        "fingerprint": b"f" * 32,
        "operation": "chat",
        "provider": "p",
        "model": "m",
        "held_nanos": 100,
        "set_id": uuid.UUID(int=2),
        "admit_time": NOON,
        "expire_time": NOON,
        "price_version": 1,
        "breaker_epoch": 0,
        "worst_nanos": 1000,
        "worst_tokens": 100,
        "state": State.SETTLED,
    }
    return Reservation(**defaults | fields)


@pytest.mark.parametrize(
    ("fields", "bucket"),
    [
        ({"settled_nanos": 201}, 21),
        ({"settled_nanos": 200}, 20),
        # The greater of both shares.
        ({"settled_nanos": 200, "settled_tokens": 77}, 77),
        # A free model has tokens only.
        ({"worst_nanos": 0, "settled_tokens": 5}, 5),
        ({"settled_nanos": 5000}, 100),
        ({"worst_nanos": 0, "worst_tokens": 0}, None),
        ({"state": State.EXPIRED}, None),
        ({"set_id": None}, None),
    ],
)
def test_a_call_counts_in_the_bucket_of_its_share(
    fields: dict[str, Any], bucket: int | None
) -> None:
    assert bucket_of(make_ended(**fields)) == bucket


@pytest.mark.parametrize(
    ("histogram", "percent"),
    [
        ({}, None),
        ({10: 49}, None),
        ({10: 50}, 10),
        ({10: 98, 40: 1, 90: 1}, 40),
        ({10: 99, 90: 1}, 10),
    ],
)
def test_the_percentile_is_the_upper_edge_of_its_bucket(
    histogram: dict[int, int], percent: int | None
) -> None:
    assert percentile(histogram) == percent


def test_an_estimate_rounds_up_and_never_exceeds_the_worst_case() -> None:
    worst = Amounts(1001, 10)
    assert adapt(worst, share_percent=10, factor_percent=100) == Amounts(101, 1)
    assert adapt(worst, share_percent=90, factor_percent=150) == worst
