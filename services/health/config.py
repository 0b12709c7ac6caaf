"""Settings of health, read from HEADGATE_HEALTH_* variables."""

from __future__ import annotations

import datetime as dt

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from chassis.config import Addresses, Settings
from services.health.domain.breakers import BreakerRules


class HealthSettings(Settings):
    """What health needs to run."""

    model_config = SettingsConfigDict(env_prefix="HEADGATE_HEALTH_")

    listen_address: str = Field(
        default="127.0.0.1:7403",
        description="Host and port the RPC server listens on; port 0 takes a free one.",
    )
    admission_addresses: Addresses = Field(
        description="Addresses of admission, whose fence a kill sets."
    )
    failure_threshold: int = Field(
        default=5,
        ge=1,
        le=1000,
        description="Failures in a row, over all replicas, that open a provider's breaker.",
    )
    open_seconds: float = Field(
        default=60.0,
        ge=0.1,
        le=86_400,
        description="How long an open breaker refuses before probes may pass.",
    )
    probe_count: int = Field(
        default=1,
        ge=1,
        le=100,
        description="Most probes of a half-open breaker at once, over all replicas.",
    )
    probe_successes: int = Field(
        default=1,
        ge=1,
        le=100,
        description="Successful probes that close a half-open breaker.",
    )
    probe_seconds: float = Field(
        default=600.0,
        ge=1,
        le=86_400,
        description="How long a probe without an outcome keeps its place; as long as a hold.",
    )

    def breaker_rules(self) -> BreakerRules:
        """Returns the rules that the settings ask for."""
        return BreakerRules(
            failure_threshold=self.failure_threshold,
            open_duration=dt.timedelta(seconds=self.open_seconds),
            probe_count_max=self.probe_count,
            probe_success_threshold=self.probe_successes,
            probe_duration=dt.timedelta(seconds=self.probe_seconds),
        )
