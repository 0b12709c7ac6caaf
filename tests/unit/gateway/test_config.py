"""A wrong configuration is one line that names the variable and shows no secret."""

from __future__ import annotations

import os
import re

import pytest

from chassis.config import ConfigError, load
from gateway.config import GatewaySettings

PREFIX = "HEADGATE_GATEWAY_"
SECRET = "S" * 43
GOOD = {
    "DATABASE_URL": "postgresql://headgate_gateway:secret@127.0.0.1:5432/headgate",
    "SERVICE_TOKEN": "t" * 32,
    "ADMISSION_ADDRESSES": "127.0.0.1:7401,127.0.0.1:7411",
    "ACCOUNTING_ADDRESSES": "127.0.0.1:7402",
    "HEALTH_ADDRESSES": "127.0.0.1:7403",
    "PERMIT_KEYS": f"k1:{'0f' * 32}",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in list(os.environ):
        if name.startswith("HEADGATE_"):
            monkeypatch.delenv(name)
    for name, value in GOOD.items():
        monkeypatch.setenv(PREFIX + name, value)
    return monkeypatch


def test_the_least_configuration_is_enough(environment: pytest.MonkeyPatch) -> None:
    settings = load(GatewaySettings)

    assert settings.listen_address == "127.0.0.1:7400"
    assert settings.admission_addresses == ("127.0.0.1:7401", "127.0.0.1:7411")
    assert settings.signing_keys() == {"k1": b"\x0f" * 32}
    assert settings.demo_keys() == {}


def test_keys_to_bootstrap_are_read_by_org(environment: pytest.MonkeyPatch) -> None:
    environment.setenv(PREFIX + "BOOTSTRAP_ADMIN_KEY", f"hg_admin_{SECRET}")
    environment.setenv(
        PREFIX + "BOOTSTRAP_API_KEYS", f"demo-acme=hg_demo-acme_{SECRET}, b=hg_b_{SECRET}"
    )

    settings = load(GatewaySettings)

    assert settings.demo_keys() == {
        "demo-acme": f"hg_demo-acme_{SECRET}",
        "b": f"hg_b_{SECRET}",
    }
    assert SECRET not in repr(settings)


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("PERMIT_KEYS", None, "is not set"),
        ("PERMIT_KEYS", "k1:00", "entry 1 needs at least 32 bytes"),
        ("ADMISSION_ADDRESSES", None, "is not set"),
        ("ADMISSION_ADDRESSES", "nowhere", "host:port"),
        ("ACCOUNTING_ADDRESSES", "", "host:port"),
        ("HEALTH_ADDRESSES", "x:99999", "host:port"),
        ("BOOTSTRAP_ADMIN_KEY", f"hg_admin_{SECRET[1:]}", "set a key of the form"),
        ("BOOTSTRAP_API_KEYS", f"hg_b_{SECRET}", "entry 1 must hold a key of the form"),
        ("BOOTSTRAP_API_KEYS", f"*=hg_b_{SECRET}", "entry 1 must be `org=key`"),
        ("BOOTSTRAP_API_KEYS", "acme=hg_b", "entry 1 must hold a key of the form"),
        (
            "BOOTSTRAP_API_KEYS",
            f"acme=hg_a_{SECRET},acme=hg_b_{SECRET}",
            "entry 2 repeats the org acme",
        ),
    ],
)
def test_a_fault_names_its_variable(
    environment: pytest.MonkeyPatch, name: str, value: str | None, fault: str
) -> None:
    if value is None:
        environment.delenv(PREFIX + name)
    else:
        environment.setenv(PREFIX + name, value)

    with pytest.raises(ConfigError, match=re.escape(fault)) as refused:
        load(GatewaySettings)
    assert str(refused.value).startswith(PREFIX + name)
    assert SECRET[1:] not in str(refused.value)
    assert "\n" not in str(refused.value)
