"""One operation on a gateway, written to the log before it is sent and after it is answered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict

from headgate.api.common.v1 import call_pb2
from headgate.api.gateway.v1 import gateway_pb2 as pb
from headgate.api.gateway.v1 import gateway_pb2_grpc
from headgate.channel import authorization
from tests.guarantees.callers import OPERATION
from tests.guarantees.nemesis.history import Action, Kind, Log

# Answers that say nothing of what happened.
UNKNOWN: Final = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    }
)


class Asker:
    """Asks gateways, and notes everything."""

    def __init__(
        self, stubs: Sequence[gateway_pb2_grpc.GatewayServiceAsyncStub], *, api_key: str, log: Log
    ) -> None:
        self._stubs = stubs
        self._metadata = authorization(api_key)
        self._log = log

    async def ask(
        self,
        action: Action,
        org: str,
        call_id: str,
        request: dict[str, Any],
        *,
        gateway: int,
        seconds: float,
    ) -> tuple[Kind, dict[str, Any]]:
        """Sends one request, once; returns what became of it."""
        stub = self._stubs[gateway % len(self._stubs)]
        invoked = self._log.invoke(action, org, call_id, request)
        try:
            answer = await _send(
                stub, action, (org, call_id), request, metadata=self._metadata, seconds=seconds
            )
        except grpc.aio.AioRpcError as error:
            kind = Kind.INFO if error.code() in UNKNOWN else Kind.FAIL
            facts = {"code": error.code().name, "details": error.details()}
        else:
            kind, facts = Kind.OK, answer
        self._log.end(invoked, kind, facts)
        return kind, facts


async def _send(
    stub: gateway_pb2_grpc.GatewayServiceAsyncStub,
    action: Action,
    key: tuple[str, str],
    request: dict[str, Any],
    *,
    metadata: tuple[tuple[str, str], ...],
    seconds: float,
) -> dict[str, Any]:
    org, call_id = key
    match action:
        case Action.ADMIT:
            answer: Any = await stub.AdmitCall(
                _admission(org, call_id, request), metadata=metadata, timeout=seconds
            )
        case Action.COMPLETE:
            answer = await stub.CompleteCall(
                _completion(org, call_id, request), metadata=metadata, timeout=seconds
            )
        case Action.RELEASE:
            answer = await stub.ReleaseCall(
                pb.ReleaseCallRequest(org=org, call_id=call_id), metadata=metadata, timeout=seconds
            )
        case Action.EXTEND:
            answer = await stub.ExtendCall(
                pb.ExtendCallRequest(
                    org=org, call_id=call_id, hold_duration=Duration(seconds=request["seconds"])
                ),
                metadata=metadata,
                timeout=seconds,
            )
    return MessageToDict(
        answer, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def _admission(org: str, call_id: str, request: dict[str, Any]) -> pb.AdmitCallRequest:
    return pb.AdmitCallRequest(
        call_id=call_id,
        org=org,
        operation=OPERATION,
        input_token_count=request["input"],
        max_output_token_count=request["output_max"],
    )


def _completion(org: str, call_id: str, request: dict[str, Any]) -> pb.CompleteCallRequest:
    name: dict[str, Any] = {"org": org, "call_id": call_id}
    if request["permit"]:
        name = {"permit": bytes.fromhex(request["permit"])}
    return pb.CompleteCallRequest(
        **name,
        outcome=call_pb2.CALL_OUTCOME_SUCCEEDED,
        meters=call_pb2.UsageMeters(
            input_token_count=request["input"], output_token_count=request["output"]
        ),
    )
