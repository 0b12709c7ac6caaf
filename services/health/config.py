"""Settings of health, read from HEADGATE_HEALTH_* variables."""

from __future__ import annotations

import datetime as dt

from pydantic import Field, field_validator
from pydantic_settings import SettingsConfigDict

from chassis.config import Addresses, Settings
from services.health.domain.rules import BreakerRules
from services.health.domain.signals import Classification, parse_classification


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
        description="How long an open breaker refuses before probes may pass, the first time.",
    )
    open_growth: float = Field(
        default=2.0,
        ge=1,
        le=10,
        description="How many times longer each opening lasts that follows another one soon.",
    )
    open_seconds_max: float = Field(
        default=900.0,
        ge=0.1,
        le=86_400,
        description="Longest time that a breaker refuses before probes may pass.",
    )
    open_jitter: float = Field(
        default=0.1,
        ge=0,
        le=0.5,
        description="Share by which these times differ, so that not all probe at once.",
    )
    calm_seconds: float = Field(
        default=600.0,
        ge=0,
        le=86_400,
        description="A breaker that stayed closed for so long opens for the shortest time again.",
    )
    failure_rate: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="Share of the last minute's calls that must fail to open a breaker.",
    )
    slow_rate: float = Field(
        default=0.8,
        gt=0,
        le=1,
        description="Share of the last minute's calls that must be slow to open a breaker.",
    )
    slow_seconds: float = Field(
        default=60.0,
        gt=0,
        le=86_400,
        description="From which latency on a call that succeeded was slow.",
    )
    rate_call_count: int = Field(
        default=20,
        ge=1,
        le=1_000_000,
        description="Calls in the last minute below which rates open no breaker.",
    )
    cool_seconds: float = Field(
        default=5.0,
        ge=0,
        le=3_600,
        description="How long a throttled credential is left alone if the provider does not say.",
    )
    cool_seconds_max: float = Field(
        default=3_600.0,
        ge=0,
        le=86_400,
        description="Longest time that a throttled credential is left alone, whatever is said.",
    )
    classification: str = Field(
        default="",
        description="What classes of errors say, before the built-in table: "
        "`provider:error_type=signal[,...]`, where `*` is any provider and a signal is one of "
        "failed, refused, throttled, neutral.",
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

    @field_validator("classification")
    @classmethod
    def _check_classification(cls, value: str) -> str:
        parse_classification(value)
        return value

    def table(self) -> Classification:
        """Returns what classes of errors say."""
        return parse_classification(self.classification)

    def breaker_rules(self) -> BreakerRules:
        """Returns the rules that the settings ask for."""
        return BreakerRules(
            failure_threshold=self.failure_threshold,
            open_duration=dt.timedelta(seconds=self.open_seconds),
            probe_count_max=self.probe_count,
            probe_success_threshold=self.probe_successes,
            probe_duration=dt.timedelta(seconds=self.probe_seconds),
            open_growth=self.open_growth,
            open_duration_max=dt.timedelta(seconds=self.open_seconds_max),
            calm_duration=dt.timedelta(seconds=self.calm_seconds),
            jitter=self.open_jitter,
            failure_rate=self.failure_rate,
            slow_rate=self.slow_rate,
            slow_duration=dt.timedelta(seconds=self.slow_seconds),
            rate_call_count=self.rate_call_count,
            cool_duration=dt.timedelta(seconds=self.cool_seconds),
            cool_duration_max=dt.timedelta(seconds=self.cool_seconds_max),
        )
