"""Settings of the gateway, read from HEADGATE_GATEWAY_* variables."""

from __future__ import annotations

import re
from typing import ClassVar, Final, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from chassis.config import Addresses, Settings
from gateway.domain.groups import parse_group_roles
from gateway.keys import parse_key_id
from gateway.permits import parse_signing_keys
from gateway.staff.oidc.addresses import check_address

STAFF_TOKEN_LENGTH_MIN: Final = 32
_ORG: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_KEY_FORM: Final = (
    "hg_<id>_<secret>: the id of a-z, 0-9, '-', '_', the secret of 43 to 128 letters, digits, '-'"
)


class GatewaySettings(Settings):
    """What the gateway needs to run."""

    model_config = SettingsConfigDict(env_prefix="HEADGATE_GATEWAY_")
    listeners: ClassVar[tuple[str, ...]] = ("listen_address", "http_listen_address")

    listen_address: str = Field(
        default="127.0.0.1:7400",
        description="Host and port the RPC server listens on; port 0 takes a free one.",
    )
    http_listen_address: str = Field(
        default="",
        pattern=r"^$|^.+:[0-9]{1,5}$",
        description="Host and port of the HTTP face, such as 127.0.0.1:7480; port 0 takes a free "
        "one. Empty: there is none.",
    )
    tls_require_client_certificate: bool = Field(
        default=False,
        description="Refuses whoever shows no certificate of the peers' authority, besides a key.",
    )
    admission_addresses: Addresses = Field(
        description="Addresses of admission, which decides rates and budgets."
    )
    accounting_addresses: Addresses = Field(
        description="Addresses of accounting, which books usage and knows the prices."
    )
    health_addresses: Addresses = Field(
        description="Addresses of health, which knows breakers and the kill switch."
    )
    permit_keys: SecretStr = Field(
        description="Keys that sign permits, as `id:hex[,id:hex]` of at least 32 bytes each, the "
        "same on every gateway. The first signs, all verify; keep an old one for 35 days."
    )
    bootstrap_admin_key: SecretStr | None = Field(
        default=None,
        description="Whole admin key that `job bootstrap` stores the hash of; unset: none.",
    )
    bootstrap_api_keys: SecretStr | None = Field(
        default=None,
        description="Whole backend keys that `job bootstrap` stores the hashes of, as "
        "`org=key[,org=key]`; unset: none.",
    )

    bootstrap_staff_token: SecretStr | None = Field(
        default=None,
        description="One-time token, at least 32 characters, by which somebody becomes the first "
        "admin; `job bootstrap` stores its hash; unset: none.",
    )
    session_idle_seconds: float = Field(
        default=3_600.0,
        ge=300,
        le=86_400,
        description="Time without use after which a session of staff ends.",
    )
    session_seconds: float = Field(
        default=43_200.0,
        ge=300,
        le=30 * 86_400,
        description="Time after which a session of staff ends however much it is used.",
    )

    oidc_issuer: str = Field(
        default="",
        description="Issuer of the OpenID provider by which staff log in, https (http on "
        "loopback). Empty: they log in with passwords only.",
    )
    oidc_client_id: str = Field(
        default="", description="What the provider calls this installation."
    )
    oidc_client_secret: SecretStr | None = Field(
        default=None,
        description="Secret that the provider gave it; unset: a public client, by PKCE alone.",
    )
    oidc_redirect_uris: str = Field(
        default="",
        description="Addresses that the provider may send people back to, separated by commas. "
        "Those on a person's own loopback need not be named.",
    )
    oidc_scopes: str = Field(
        default="openid email profile", description="What is asked of the provider."
    )
    oidc_groups_claim: str = Field(
        default="groups", description="Claim that holds the groups of a person."
    )
    oidc_roles: str = Field(
        default="",
        description="Which group has which role, as `group=role[@org]`, separated by commas, the "
        "role viewer, editor or admin; without an org for the platform. No other group gets in.",
    )

    @model_validator(mode="after")
    def _check_oidc(self) -> Self:
        parse_group_roles(self.oidc_roles)
        if self.oidc_issuer:
            check_address(self.oidc_issuer)
            if not self.oidc_client_id or not self.oidc_roles:
                raise ValueError("with an OIDC_ISSUER set OIDC_CLIENT_ID and OIDC_ROLES too")
        return self

    @field_validator("bootstrap_staff_token")
    @classmethod
    def _check_staff_token(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < STAFF_TOKEN_LENGTH_MIN:
            raise ValueError(f"set at least {STAFF_TOKEN_LENGTH_MIN} random characters")
        return value

    @field_validator("permit_keys")
    @classmethod
    def _check_permit_keys(cls, value: SecretStr) -> SecretStr:
        parse_signing_keys(value.get_secret_value())
        return value

    @field_validator("bootstrap_admin_key")
    @classmethod
    def _check_admin_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and parse_key_id(value.get_secret_value()) is None:
            raise ValueError(f"set a key of the form {_KEY_FORM}")
        return value

    @field_validator("bootstrap_api_keys")
    @classmethod
    def _check_api_keys(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            _parse_api_keys(value.get_secret_value())
        return value

    def signing_keys(self) -> dict[str, bytes]:
        """Returns the permits' keys by their ids, the signing one first."""
        return parse_signing_keys(self.permit_keys.get_secret_value())

    def demo_keys(self) -> dict[str, str]:
        """Returns the backend keys to bootstrap by their orgs."""
        value = self.bootstrap_api_keys
        return {} if value is None else _parse_api_keys(value.get_secret_value())


def _parse_api_keys(text: str) -> dict[str, str]:
    keys: dict[str, str] = {}
    for position, entry in enumerate(text.split(","), start=1):
        org, _, key = entry.strip().partition("=")
        if _ORG.fullmatch(org) is None:
            raise ValueError(f"entry {position} must be `org=key` with an org of letters, digits")
        if parse_key_id(key) is None:
            raise ValueError(f"entry {position} must hold a key of the form {_KEY_FORM}")
        if org in keys:
            raise ValueError(f"entry {position} repeats the org {org}")
        keys[org] = key
    return keys
