"""What the fake gateway reads in a call that wants to start."""

from __future__ import annotations

import uuid

import grpc

from headgate.api.gateway.v1 import gateway_pb2
from headgate.testing.entries import Refusal

DEFAULT_MAX_OUTPUT_TOKENS = 256
INPUT_NANOS = 1_000
OUTPUT_NANOS = 4_000


def fingerprint_of(request: gateway_pb2.AdmitCallRequest) -> bytes:
    """Returns what makes two requests the same: their words for the fallback text do not."""
    same = gateway_pb2.AdmitCallRequest()
    same.CopyFrom(request)
    same.ClearField("locale")
    same.ClearField("variables")
    same.ClearField("approval_id")
    return same.SerializeToString(deterministic=True)


def find_bounds(request: gateway_pb2.AdmitCallRequest) -> tuple[int, int]:
    """Returns the most that a call can cost, in nano-US-dollars, and its bound of the output."""
    output = DEFAULT_MAX_OUTPUT_TOKENS
    if request.HasField("max_output_token_count"):
        output = request.max_output_token_count
    tokens = max(request.input_token_count, request.input_byte_count)
    return tokens * INPUT_NANOS + output * OUTPUT_NANOS, output


def check(request: gateway_pb2.AdmitCallRequest, *, prefix: str = "") -> None:
    """Checks the fields of a call. Raises Refusal."""
    wrong: list[tuple[str, str]] = []
    try:
        uuid.UUID(request.call_id)
    except ValueError:
        wrong.append((f"{prefix}call_id", "must be a UUID"))
    if not request.operation:
        wrong.append((f"{prefix}operation", "is empty; name the operation"))
    if request.input_token_count < 0:
        wrong.append((f"{prefix}input_token_count", "must be 0 or more"))
    if wrong:
        raise Refusal(
            grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", violations=tuple(wrong)
        )
