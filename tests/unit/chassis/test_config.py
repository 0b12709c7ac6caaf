from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import Field
from pydantic_settings import SettingsConfigDict

from chassis.config import Addresses, ConfigError, Settings, is_loopback, load, split_address


class Example(Settings):
    """A deployable's settings."""

    model_config = SettingsConfigDict(env_prefix="HEADGATE_HEALTH_")

    peers: Addresses = Field(default=("127.0.0.1:1",), description="Addresses of the peers.")


RIGHT = {
    "LISTEN_ADDRESS": "127.0.0.1:0",
    "DATABASE_URL": "postgresql://a:b@127.0.0.1/c",
    "SERVICE_TOKEN": "t" * 32,
}


@pytest.fixture(autouse=True)
def no_other_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [each for each in os.environ if each.upper().startswith("HEADGATE_")]:
        monkeypatch.delenv(name)


def read(monkeypatch: pytest.MonkeyPatch, **changes: str | None) -> Example:
    for name, value in (RIGHT | changes).items():
        if value is not None:
            monkeypatch.setenv(f"HEADGATE_HEALTH_{name}", value)
    return load(Example)


def fault(monkeypatch: pytest.MonkeyPatch, **changes: str | None) -> str:
    with pytest.raises(ConfigError) as caught:
        read(monkeypatch, **changes)
    return str(caught.value)


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read(monkeypatch, PEERS="10.0.0.1:1, [::1]:2,name:3", DRAIN_SECONDS="1.5")

    assert settings.peers == ("10.0.0.1:1", "[::1]:2", "name:3")
    assert settings.drain_seconds == 1.5
    assert settings.database_url.get_secret_value() == RIGHT["DATABASE_URL"]


def test_no_secret_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read(monkeypatch, SERVICE_TOKEN="the-very-secret-token-of-services")

    assert "secret-token" not in repr(settings)
    assert "a:b@" not in repr(settings)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"DATABASE_URL": None}, "HEADGATE_HEALTH_DATABASE_URL is not set: Postgres URL of the"),
        ({"DATABASE_URL": "mysql://x"}, "_DATABASE_URL: set a URL such as postgresql://"),
        ({"SERVICE_TOKEN": "ä" * 40}, "_SERVICE_TOKEN: set at least 32 ASCII characters"),
        ({"LISTEN_ADDRESS": "7403"}, "_LISTEN_ADDRESS: set host:port, such as 127.0.0.1:7400"),
        ({"LISTEN_ADDRESS": "127.0.0.1:65536"}, "_LISTEN_ADDRESS: set host:port"),
        ({"METRICS_ADDRESS": ":1"}, "_METRICS_ADDRESS: set host:port"),
        ({"PEERS": "a:1,b"}, "_PEERS: set host:port"),
        ({"DRAIN_SECONDS": "-1"}, "_DRAIN_SECONDS: Input should be greater than or equal to 0"),
        ({"LOG_LEVEL": "loud"}, "_LOG_LEVEL: Input should be 'debug', 'info', 'warning'"),
        ({"LISTEN_ADDRESS": "0.0.0.0:1"}, "set the three TLS files, or HEADGATE_HEALTH_ALLOW_"),
        ({"TLS_KEY_FILE": "/x"}, "set HEADGATE_HEALTH_TLS_CERTIFICATE_FILE and HEADGATE_HEALTH_"),
        ({"DRAIN_SECOND": "1"}, "did you mean HEADGATE_HEALTH_DRAIN_SECONDS?"),
        ({"COLOUR": "red"}, "HEADGATE_HEALTH_COLOUR: no such setting; remove it or correct"),
    ],
)
def test_a_fault_names_the_variable_and_the_fix_in_one_line(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, str | None], line: str
) -> None:
    text = fault(monkeypatch, **changes)

    assert line in text
    assert "\n" not in text


def test_all_faults_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    text = fault(monkeypatch, DATABASE_URL=None, DRAIN_SECONDS="soon")

    assert "_DATABASE_URL is not set" in text
    assert "_DRAIN_SECONDS: " in text


def test_a_variable_of_no_deployable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADGATE_HEALHT_LOG_LEVEL", "debug")

    assert fault(monkeypatch).startswith("HEADGATE_HEALHT_LOG_LEVEL: no deployable reads it")


def test_variables_of_others_are_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADGATE_GATEWAY_ANYTHING", "x")
    monkeypatch.setenv("HEADGATE_API_KEY", "x")

    assert read(monkeypatch).log_level == "info"


def test_an_address_beyond_loopback_needs_all_of_tls_or_a_word(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    files = {
        f"TLS_{name}_FILE": str(tmp_path / name) for name in ("CERTIFICATE", "KEY", "CLIENT_CA")
    }
    for path in files.values():
        Path(path).write_text("pem")

    assert read(monkeypatch, LISTEN_ADDRESS="0.0.0.0:1", **files).tls_key_file is not None
    Path(files["TLS_KEY_FILE"]).unlink()
    text = fault(monkeypatch, LISTEN_ADDRESS="0.0.0.0:1", **files)
    assert text == f"HEADGATE_HEALTH_TLS_KEY_FILE names no file: {files['TLS_KEY_FILE']}"


def test_a_network_that_encrypts_may_do_without(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read(monkeypatch, LISTEN_ADDRESS="0.0.0.0:1", ALLOW_PLAINTEXT="true").allow_plaintext


@pytest.mark.parametrize(
    ("address", "parts"),
    [("127.0.0.1:7400", ("127.0.0.1", 7400)), ("[::1]:0", ("::1", 0)), ("a.b:1", ("a.b", 1))],
)
def test_an_address_has_a_host_and_a_port(address: str, parts: tuple[str, int]) -> None:
    assert split_address(address) == parts


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True)]
    + [("10.0.0.1", False), ("example", False), ("0.0.0.0", False)],
)
def test_loopback_is_this_machine_alone(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
