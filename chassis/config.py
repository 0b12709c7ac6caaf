"""Configuration: one class per deployable, read from the environment here and nowhere else.

A variable that nobody knows stops the process, because a mistyped limit is an absent limit.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal, Self, TypeVar

from pydantic import (
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

PREFIX: Final = "HEADGATE_"
# The word after the prefix of every variable there is: deployables first, then single names.
DEPLOYABLES: Final = frozenset({"ADMISSION", "ACCOUNTING", "HEALTH", "GATEWAY"})
SINGLE_NAMES: Final = frozenset(
    {
        "DATABASE_URL",
        "API_KEY",
        "ADMIN_KEY",
        "TARGET",
        "STATE_DIR",
        "MODE",
        "TLS_CA_FILE",
    }
)
SERVICE_TOKEN_LENGTH_MIN: Final = 32

S = TypeVar("S", bound="Settings")


class ConfigError(Exception):
    """The configuration is wrong. One line: the variable, what is wrong, the fix."""


def _split(value: object) -> object:
    if not isinstance(value, str):
        return value
    addresses = tuple(part.strip() for part in value.split(","))
    for address in addresses:
        split_address(address)
    return addresses


# One or several "host:port", comma-separated in the environment.
Addresses = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split), Field(min_length=1)]


class Settings(BaseSettings):
    """What every deployable needs. Subclasses set `env_prefix` and add their own fields."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="forbid", hide_input_in_errors=True
    )

    # The fields that hold an address at which calls are taken.
    listeners: ClassVar[tuple[str, ...]] = ("listen_address",)

    listen_address: str = Field(
        description="Host and port the RPC server listens on; port 0 takes a free one."
    )
    database_url: SecretStr = Field(
        description="Postgres URL of the runtime role: postgresql://role:password@host:port/name."
    )
    owner_database_url: SecretStr | None = Field(
        default=None, description="Postgres URL of the schema's owner; only `migrate` needs it."
    )
    admin_database_url: SecretStr | None = Field(
        default=None,
        description="Postgres URL of a role that may create roles; only `provision` needs it.",
    )
    service_token: SecretStr = Field(
        description="Secret that the services show each other; at least 32 characters."
    )
    metrics_address: str | None = Field(
        default=None,
        description="Host and port of the Prometheus page; port 0 takes a free one; unset is off.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe log line that is written."
    )
    log_format: Literal["json", "console"] = Field(
        default="json", description="One JSON object per line, or coloured text for people."
    )
    otlp_endpoint: str | None = Field(
        default=None,
        description="URL of an OTLP gRPC collector for traces, http or https; unset is off.",
    )
    trace_sample_ratio: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="Share of the calls traced when nobody upstream chose.",
    )
    drain_seconds: float = Field(
        default=10.0, ge=0, le=600, description="Longest wait for calls in flight at shutdown."
    )
    propagation_seconds: float = Field(
        default=0.2,
        ge=0,
        le=60,
        description="Wait between 'not ready' and refusing calls, for balancers to notice. "
        "Our own clients notice at once.",
    )
    max_connection_age_seconds: float = Field(
        default=60.0,
        ge=1,
        le=86_400,
        description="Age at which a connection is renewed, so that new replicas get load.",
    )
    max_concurrent_rpcs: int = Field(
        default=4096,
        ge=1,
        le=1_000_000,
        description="RPCs in progress beyond which more are shed.",
    )
    database_pool_size: int = Field(
        default=4, ge=1, le=100, description="Most connections of the pool to Postgres."
    )
    database_statement_cache_size: int = Field(
        default=256,
        ge=0,
        le=10_000,
        description="Prepared statements per connection; 0 behind a transaction pooler.",
    )
    tls_certificate_file: Path | None = Field(
        default=None, description="PEM file of this process's certificate, for both directions."
    )
    tls_key_file: Path | None = Field(
        default=None, description="PEM file of the certificate's private key."
    )
    tls_client_ca_file: Path | None = Field(
        default=None, description="PEM file of the authority that signed the peers' certificates."
    )
    tls_require_client_certificate: bool = Field(
        default=True,
        description="Refuses whoever shows no certificate of that authority; services need it.",
    )
    probe_address: str | None = Field(
        default=None,
        description="Host and port that answers probes alone, in plain text; unset is off.",
    )
    allow_plaintext: bool = Field(
        default=False, description="Allows an address beyond loopback without TLS."
    )

    @field_validator("listen_address", "metrics_address", "probe_address")
    @classmethod
    def _check_address(cls, value: str | None) -> str | None:
        if value is not None:
            split_address(value)
        return value

    @field_validator("service_token")
    @classmethod
    def _check_service_token(cls, value: SecretStr) -> SecretStr:
        secret = value.get_secret_value()
        if len(secret) < SERVICE_TOKEN_LENGTH_MIN or not secret.isascii():
            raise ValueError(
                f"set at least {SERVICE_TOKEN_LENGTH_MIN} ASCII characters, "
                "for example the output of `openssl rand -hex 32`"
            )
        return value

    @field_validator("database_url", "owner_database_url", "admin_database_url")
    @classmethod
    def _check_database_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(
            ("postgresql://", "postgres://")
        ):
            raise ValueError("set a URL such as postgresql://role:password@host:5432/name")
        return value

    @model_validator(mode="after")
    def _check_transport(self) -> Self:
        files = {
            "tls_certificate_file": self.tls_certificate_file,
            "tls_key_file": self.tls_key_file,
            "tls_client_ca_file": self.tls_client_ca_file,
        }
        missing = [name for name, path in files.items() if path is None]
        if len(missing) == len(files):
            self._check_plaintext()
        elif missing:
            names = " and ".join(variable(type(self), name) for name in missing)
            raise ValueError(f"set {names} too, or none of the three TLS files")
        for name, path in files.items():
            if path is not None and not path.is_file():
                raise ValueError(f"{variable(type(self), name)} names no file: {path}")
        return self

    def _check_plaintext(self) -> None:
        for name in self.listeners:
            address = getattr(self, name)
            if self.allow_plaintext or not address or is_loopback(split_address(address)[0]):
                continue
            raise ValueError(
                f"{variable(type(self), name)} is not loopback: set the three TLS files, "
                f"or {variable(type(self), 'allow_plaintext')}=true if the network encrypts"
            )


def load(cls: type[S]) -> S:
    """Reads the deployable's settings. Raises ConfigError, which names the first few faults."""
    _refuse_unknown(cls)
    try:
        return cls()  # type: ignore[call-arg]  # the environment gives the required ones
    except ValidationError as error:
        faults = [_describe(cls, fault["loc"], fault["msg"]) for fault in error.errors()]
        raise ConfigError("; ".join(faults)) from None


def variable(cls: type[Settings], field: str) -> str:
    """Returns the name of the field's environment variable."""
    return f"{cls.model_config.get('env_prefix', PREFIX)}{field}".upper()


def split_address(address: str) -> tuple[str, int]:
    """Splits "host:port", where an IPv6 host stands in brackets. Raises ValueError."""
    host, colon, port = address.rpartition(":")
    if not (colon and host and port.isascii() and port.isdigit() and int(port) <= 65_535):  # noqa: PLR2004 - the last port
        raise ValueError("set host:port, such as 127.0.0.1:7400")
    return host.strip("[]"), int(port)


def is_loopback(host: str) -> bool:
    """Says whether only this machine can reach the host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _refuse_unknown(cls: type[Settings]) -> None:
    prefix = str(cls.model_config.get("env_prefix", PREFIX)).upper()
    known = {variable(cls, field) for field in cls.model_fields}
    for name in sorted(os.environ):
        upper = name.upper()
        if upper.startswith(prefix) and prefix != PREFIX and upper not in known:
            raise ConfigError(
                f"{name}: no such setting; remove it or correct its name{_hint(upper, known)}"
            )
        if upper.startswith(PREFIX) and not _is_ours(upper.removeprefix(PREFIX)):
            raise ConfigError(
                f"{name}: no deployable reads it; names start with "
                + ", ".join(f"{PREFIX}{word}_" for word in sorted(DEPLOYABLES))
            )


def _is_ours(rest: str) -> bool:
    return rest in SINGLE_NAMES or rest.split("_", 1)[0] in DEPLOYABLES


def _hint(name: str, known: set[str]) -> str:
    close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.8)
    return f" (did you mean {close[0]}?)" if close else ""


def _describe(cls: type[Settings], location: tuple[int | str, ...], message: str) -> str:
    text = message.removeprefix("Value error, ")
    if not location:
        return text
    name = variable(cls, str(location[0]))
    if text == "Field required":
        field = cls.model_fields[str(location[0])]
        return f"{name} is not set: {field.description}"
    return f"{name}: {text}"
