"""Tells the gateway which administrative changes a service has stored."""

from __future__ import annotations

from typing import Any, Final

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.checks import Checks
from chassis.config import Settings
from chassis.database import Pool
from chassis.server import Server, ServiceTokenAuthenticator
from headgate.api.common.v1 import change_pb2 as pb
from headgate.api.common.v1 import change_pb2_grpc

SERVICE_NAME: Final = "headgate.api.common.v1.ChangeService"
AUDIT_ID_COUNT_MAX: Final = 1_000
AUDIT_ID_LENGTH_MAX: Final = 64

# Every service logs its changes so, each in the transaction that makes it.
CHANGE_LOG: Final = """
SELECT audit_id, target, before::text AS before, after::text AS after, change_time
FROM change_log
WHERE audit_id = any($1::text[])
"""

Context = grpc.aio.ServicerContext[Any, Any]


class ChangeServicer(change_pb2_grpc.ChangeServiceServicer):
    """Answers from the service's own log of changes."""

    def __init__(self, pool: Pool, query: str = CHANGE_LOG) -> None:
        """`query` takes audit ids and gives audit_id, target, before, after and change_time."""
        self._pool = pool
        self._query = query

    async def FindChanges(  # noqa: N802 - the contract's name
        self, request: pb.FindChangesRequest, context: Context
    ) -> pb.FindChangesResponse:
        """Finds changes by their audit entries."""
        _check(request)
        rows = await self._pool.fetch(self._query, list(request.audit_ids))
        response = pb.FindChangesResponse()
        for row in rows:
            time = Timestamp()
            time.FromDatetime(row["change_time"])
            response.changes.add(
                audit_id=row["audit_id"],
                target=row["target"],
                before_json=row["before"] or "",
                after_json=row["after"] or "",
                change_time=time,
            )
        return response


def add_changes(server: Server, settings: Settings, pool: Pool, query: str = CHANGE_LOG) -> None:
    """Adds the servicer to a service's server."""
    server.add(
        change_pb2_grpc.add_ChangeServiceServicer_to_server,
        ChangeServicer(pool, query),
        service_name=SERVICE_NAME,
        authenticate=ServiceTokenAuthenticator(settings.service_token),
    )


def _check(request: pb.FindChangesRequest) -> None:
    checks = Checks()
    if not 1 <= len(request.audit_ids) <= AUDIT_ID_COUNT_MAX:
        checks.violate("audit_ids", f"has {len(request.audit_ids)}; 1 to {AUDIT_ID_COUNT_MAX}")
        checks.raise_if_any()
    for position, audit_id in enumerate(request.audit_ids):
        checks.text(f"audit_ids[{position}]", audit_id, max_length=AUDIT_ID_LENGTH_MAX)
    checks.raise_if_any()
