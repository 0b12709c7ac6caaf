"""Settings of accounting, read from HEADGATE_ACCOUNTING_* variables."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BeforeValidator, Field, SecretStr, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from chassis.config import Settings, split_address
from services.accounting.delivery.vault import Vault, parse_keys
from services.accounting.domain.addresses import Network, parse_network
from services.accounting.domain.usage import HORIZON

_NETWORK_FORM: Final = "set networks such as 10.1.0.0/16,fd00::/8"


def _split(value: object) -> object:
    if not isinstance(value, str):
        return value
    return tuple(part.strip() for part in value.split(",") if part.strip())


# Several or none, comma-separated in the environment.
Several = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]

# A day that is dropped gets no report any more.
RETENTION_DAYS_MIN: Final = HORIZON.days + 2


class AccountingSettings(Settings):
    """What accounting needs to run."""

    model_config = SettingsConfigDict(env_prefix="HEADGATE_ACCOUNTING_")

    listen_address: str = Field(
        default="127.0.0.1:7402",
        description="Host and port the RPC server listens on; port 0 takes a free one.",
    )
    admission_addresses: Several = Field(
        default=(),
        description="Addresses of admission, whose limits raise alerts; unset: they raise none.",
    )
    health_addresses: Several = Field(
        default=(),
        description="Addresses of health, whose breakers and stops raise alerts; unset: they "
        "raise none.",
    )
    channel_keys: SecretStr | None = Field(
        default=None,
        description="Keys that seal what channels keep secret, as `id:hex[,id:hex]` of 32 bytes "
        "each. The first seals, all open; unset: there can be no channels.",
    )
    delivery_networks: Several = Field(
        default=(),
        description="Networks beside the public ones that events may be sent to, such as "
        "`10.1.0.0/16`; also allows `http` to them.",
    )

    retention_days: int = Field(
        default=90,
        ge=RETENTION_DAYS_MIN,
        le=3_660,
        description="Days after which the log of a day is dropped; its rollups stay. More than "
        "the settlement horizon of 35 days.",
    )
    event_retention_days: int = Field(
        default=90,
        ge=7,
        le=3_660,
        description="Days after which the job `prune-events` forgets an event and what was sent "
        "of it; alerts stay, and so does what still waits.",
    )
    export_directory: str = Field(
        default="",
        description="Folder that a day's log is written to, as compressed CSV, before it is "
        "dropped. Empty: it is not written out.",
    )
    bill_directory: str = Field(
        default="",
        description="Folder whose bills the job `reconcile-bill` compares with the books: "
        "`PROVIDER.openai.json`, `PROVIDER.anthropic.json` and `PROVIDER.csv`, with anything "
        "between the provider and the rest. Empty: none.",
    )

    @field_validator("admission_addresses", "health_addresses")
    @classmethod
    def _check_addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            split_address(each)
        return value

    @field_validator("channel_keys")
    @classmethod
    def _check_channel_keys(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            parse_keys(value.get_secret_value())
        return value

    @field_validator("delivery_networks")
    @classmethod
    def _check_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            try:
                parse_network(each)
            except ValueError:
                raise ValueError(_NETWORK_FORM) from None
        return value

    def vault(self) -> Vault:
        """Returns what seals and opens the secrets of channels."""
        keys = self.channel_keys
        return Vault({} if keys is None else parse_keys(keys.get_secret_value()))

    def networks(self) -> tuple[Network, ...]:
        """Returns the networks that events may be sent to besides the public ones."""
        return tuple(map(parse_network, self.delivery_networks))
