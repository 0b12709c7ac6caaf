"""Settings of accounting."""

from __future__ import annotations

import datetime as dt

import pytest

from chassis.config import ConfigError, load
from services.accounting.config import AccountingSettings


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADGATE_ACCOUNTING_DATABASE_URL", "postgresql://a:b@localhost/c")
    monkeypatch.setenv("HEADGATE_ACCOUNTING_SERVICE_TOKEN", "t" * 32)


def test_the_defaults_are_the_documented_ones() -> None:
    settings = load(AccountingSettings)

    assert settings.listen_address == "127.0.0.1:7402"
    assert settings.horizon == dt.timedelta(days=35)


@pytest.mark.parametrize("value", ["0", "401", "soon"])
def test_a_horizon_that_makes_no_sense_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("HEADGATE_ACCOUNTING_HORIZON_DAYS", value)

    with pytest.raises(ConfigError, match=r"^HEADGATE_ACCOUNTING_HORIZON_DAYS: "):
        load(AccountingSettings)
