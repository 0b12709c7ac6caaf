"""Settings of admission, read from HEADGATE_ADMISSION_* variables."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from chassis.config import Addresses, Settings


class AdmissionSettings(Settings):
    """What admission needs to run."""

    model_config = SettingsConfigDict(env_prefix="HEADGATE_ADMISSION_")

    listen_address: str = Field(
        default="127.0.0.1:7401",
        description="Host and port the RPC server listens on; port 0 takes a free one.",
    )
    accounting_addresses: Addresses = Field(
        description="Addresses of accounting, whose settlement feed corrects expired holds."
    )
    sweep_interval_seconds: float = Field(
        default=2.0,
        gt=0,
        le=3600,
        description="Time between two looks for expired holds. Bounds how long one outlives its "
        "time to live.",
    )
    feed_interval_seconds: float = Field(
        default=1.0, gt=0, le=3600, description="Time between two reads of the settlement feed."
    )
