"""What staff read: usage, which is accounting's, and the audit log."""

from __future__ import annotations

from gateway.admin.lists import newest_first, oldest_first, take_page
from gateway.admin.wire import render_entry, render_record
from gateway.audit_store import AuditStore, ChainRecord
from gateway.peers import ACCOUNTING, Accounting, call
from gateway.store import AuditRecord, Store
from headgate.api.accounting.v1 import accounting_pb2
from headgate.api.gateway.v1 import admin_pb2 as pb


class Reports:
    """Reads for staff; changes nothing."""

    def __init__(self, store: Store, accounting: Accounting) -> None:
        self._store = store
        self._chain = AuditStore(store)
        self._accounting = accounting

    async def get_usage(self, request: pb.GetUsageRequest) -> pb.GetUsageResponse:
        """Sums usage; accounting checks every field."""
        wanted = accounting_pb2.GetUsageRequest(
            start_day=request.start_day,
            end_day=request.end_day,
            org=request.org,
            group_by=request.group_by,
            source=request.source,
            filter=request.filter if request.HasField("filter") else None,
            page_size=request.page_size,
            page_token=request.page_token,
            with_scores=request.with_scores,
        )
        usage = await call(ACCOUNTING, self._accounting.stub.GetUsage, wanted)
        return pb.GetUsageResponse(
            rows=usage.rows,
            source=usage.source,
            next_page_token=usage.next_page_token,
            total=usage.total if usage.HasField("total") else None,
            dropped_days=usage.dropped_days,
        )

    async def list_audit_entries(
        self, request: pb.ListAuditEntriesRequest
    ) -> pb.ListAuditEntriesResponse:
        """Lists audit entries, newest first."""
        place = newest_first(request, "audit_entries")
        rows = await self._store.list_audit_entries(below=place.start, count_max=place.size + 1)
        page, token = take_page(rows, place, _position, weigh=_weigh)
        return pb.ListAuditEntriesResponse(entries=map(render_entry, page), next_page_token=token)

    async def list_audit_records(
        self, request: pb.ListAuditRecordsRequest
    ) -> pb.ListAuditRecordsResponse:
        """Lists the audit log's chain, oldest first; the last page tells what is not in it."""
        place = oldest_first(request, "audit_records")
        rows = await self._chain.list_audit_records(above=place.start, count_max=place.size + 1)
        page, token = take_page(rows, place, _position, weigh=_weigh)
        unlinked_count = 0 if token else await self._chain.count_unlinked()
        return pb.ListAuditRecordsResponse(
            records=map(render_record, page), next_page_token=token, unlinked_count=unlinked_count
        )


def _position(row: AuditRecord | ChainRecord) -> int:
    return row.position


def _weigh(row: AuditRecord | ChainRecord) -> int:
    return len(row.request_json)
