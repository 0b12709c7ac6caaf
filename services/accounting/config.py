"""Settings of accounting, read from HEADGATE_ACCOUNTING_* variables."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from chassis.config import Settings


class AccountingSettings(Settings):
    """What accounting needs to run."""

    model_config = SettingsConfigDict(env_prefix="HEADGATE_ACCOUNTING_")

    listen_address: str = Field(
        default="127.0.0.1:7402",
        description="Host and port the RPC server listens on; port 0 takes a free one.",
    )
