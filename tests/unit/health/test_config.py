"""Settings from the environment, and the rules that they become."""

from __future__ import annotations

import datetime as dt

import pytest

from chassis.config import ConfigError, load
from services.health.config import HealthSettings
from services.health.domain.breakers import BreakerRules


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
    }.items():
        monkeypatch.setenv(f"HEADGATE_HEALTH_{name}", value)

    assert load(HealthSettings).breaker_rules() == BreakerRules(
        failure_threshold=3,
        open_duration=dt.timedelta(seconds=0.5),
        probe_count_max=4,
        probe_success_threshold=2,
        probe_duration=dt.timedelta(seconds=30),
    )


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
