"""Compares what was reported with what the provider bills."""

from __future__ import annotations

import json
from typing import Any

from headgate.api.gateway.v1 import gateway_pb2
from headgate.testing import FakeGateway
from local.demo.stand_in import StandInProcess


def reports(gateway: FakeGateway) -> list[gateway_pb2.CompleteCallRequest]:
    """Every call's report, in order of admission; every call must have one."""
    entries = list(gateway.ledger.entries.values())
    assert all(each.report for each in entries)
    return [each.report for each in entries if each.report]


def bill(providers: StandInProcess) -> list[dict[str, Any]]:
    return [json.loads(line) for line in providers.bill_path.read_text().splitlines()]


def reported(report: gateway_pb2.CompleteCallRequest) -> dict[str, int]:
    """The meters that are not zero."""
    return {field.name: count for field, count in report.meters.ListFields() if count}


def billed(line: dict[str, Any]) -> dict[str, int]:
    """The same meters, as the bill has them."""
    cached, written, kept = (
        line.get(name, 0) for name in ("cached_tokens", "written_tokens", "kept_tokens")
    )
    reasoning, drawn = line["reasoning_tokens"], line.get("image_tokens", 0)
    meters = {
        "input_token_count": line["prompt_tokens"] - cached - written - kept,
        "cache_read_token_count": cached,
        "cache_write_5m_token_count": written,
        "cache_write_1h_token_count": kept,
        "output_token_count": line["completion_tokens"] - reasoning - drawn,
        "reasoning_token_count": reasoning,
        "image_output_token_count": drawn,
        "image_count": line.get("images", 0),
        "character_count": line.get("characters", 0),
        "audio_ms": line.get("audio_ms", 0),
        "web_search_count": line.get("searches", 0),
    }
    return {name: count for name, count in meters.items() if count}
