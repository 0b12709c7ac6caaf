"""What was refused, and whether it was refused for the right reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import grpc
import pytest
from grpc_status import rpc_status

from chassis.statuses import FieldViolation, ServiceError, parse_status
from headgate.api.common.v1 import call_pb2

# The change of a good message, the field that is named, a part of what is said.
Case: TypeAlias = tuple[dict[str, Any], str, str]


async def refusal(call: Any) -> ServiceError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    status = rpc_status.from_call(caught.value)  # type: ignore[arg-type]  # it has what is read
    assert status is not None
    error = parse_status(status)
    assert error is not None
    return error


def misses(
    violations: Sequence[call_pb2.FieldViolation | FieldViolation], field: str, words: str
) -> bool:
    """Whether a refusal is anything but one violation of this field, in these words."""
    return [each.field for each in violations] != [field] or words not in violations[0].description


async def refused_wrongly(
    cases: Sequence[Case], call: Callable[[dict[str, Any]], Any]
) -> list[str]:
    """Makes each wrong call; returns those that were not refused for their field alone."""
    found = []
    for change, field, words in cases:
        error = await refusal(call(change))
        if error.code is not grpc.StatusCode.INVALID_ARGUMENT or misses(
            error.violations, field, words
        ):
            found.append(f"{field}: {error.message}")
    return found
