"""Settings from the environment, and the rules that they become."""

from __future__ import annotations

import datetime as dt

import pytest

from chassis.config import ConfigError, load
from services.health.config import HealthSettings
from services.health.domain.rules import BreakerRules
from services.health.domain.signals import Signal


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "DATABASE_URL": "postgresql://headgate_health:x@127.0.0.1/headgate",
        "SERVICE_TOKEN": "a-token-of-at-least-32-characters",
        "ADMISSION_ADDRESSES": "127.0.0.1:7401",
    }.items():
        monkeypatch.setenv(f"HEADGATE_HEALTH_{name}", value)


def test_the_defaults_are_the_documented_ones() -> None:
    assert load(HealthSettings).breaker_rules() == BreakerRules(
        failure_threshold=5,
        open_duration=dt.timedelta(seconds=60),
        probe_count_max=1,
        probe_success_threshold=1,
        probe_duration=dt.timedelta(seconds=600),
    )


def test_every_rule_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "FAILURE_THRESHOLD": "3",
        "OPEN_SECONDS": "0.5",
        "PROBE_COUNT": "4",
        "PROBE_SUCCESSES": "2",
        "PROBE_SECONDS": "30",
        "OPEN_GROWTH": "1.5",
        "OPEN_SECONDS_MAX": "90",
        "OPEN_JITTER": "0",
        "CALM_SECONDS": "5",
        "FAILURE_RATE": "0.4",
        "SLOW_RATE": "0.7",
        "SLOW_SECONDS": "9",
        "RATE_CALL_COUNT": "11",
        "COOL_SECONDS": "2",
        "COOL_SECONDS_MAX": "20",
    }.items():
        monkeypatch.setenv(f"HEADGATE_HEALTH_{name}", value)

    assert load(HealthSettings).breaker_rules() == BreakerRules(
        failure_threshold=3,
        open_duration=dt.timedelta(seconds=0.5),
        probe_count_max=4,
        probe_success_threshold=2,
        probe_duration=dt.timedelta(seconds=30),
        open_growth=1.5,
        open_duration_max=dt.timedelta(seconds=90),
        jitter=0.0,
        calm_duration=dt.timedelta(seconds=5),
        failure_rate=0.4,
        slow_rate=0.7,
        slow_duration=dt.timedelta(seconds=9),
        rate_call_count=11,
        cool_duration=dt.timedelta(seconds=2),
        cool_duration_max=dt.timedelta(seconds=20),
    )


def test_rows_of_the_classification_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADGATE_HEALTH_CLASSIFICATION", "azure:404=failed, *:418=refused")

    assert load(HealthSettings).table().rows == {
        ("azure", "404"): Signal.FAILED,
        ("*", "418"): Signal.REFUSED,
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FAILURE_THRESHOLD", "0"),
        ("OPEN_SECONDS", "-1"),
        ("OPEN_SECONDS", "nan"),
        ("PROBE_COUNT", "many"),
        ("PROBE_SUCCESSES", "101"),
        ("PROBE_SECONDS", "0.5"),
        ("ADMISSION_ADDRESSES", "nowhere"),
        ("ADMISSION_ADDRESSES", ""),
        ("PROBE_COUNTS", "1"),
        ("OPEN_GROWTH", "0.5"),
        ("FAILURE_RATE", "0"),
        ("FAILURE_RATE", "inf"),
        ("SLOW_RATE", "1.1"),
        ("CLASSIFICATION", "azure:404"),
        ("CLASSIFICATION", "azure:404=succeeded"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"HEADGATE_HEALTH_{name}", value)

    with pytest.raises(ConfigError) as refused:
        load(HealthSettings)
    assert f"HEADGATE_HEALTH_{name}" in str(refused.value)
    assert "\n" not in str(refused.value)
