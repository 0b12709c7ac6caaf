"""Admission's feed of crossings, as tests write it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from google.protobuf.timestamp_pb2 import Timestamp

from headgate.api.admission.v1 import admission_pb2
from headgate.api.common.v1 import limit_pb2
from tests.integration.accounting.samples import now


def stamp(instant: dt.datetime) -> Timestamp:
    time = Timestamp()
    time.FromDatetime(instant)
    return time


def crossing(counter: str, percent: int) -> admission_pb2.Crossing:
    return admission_pb2.Crossing(
        limit_id="acme-monthly",
        scope={"org": "acme"},
        metric=limit_pb2.METRIC_COST,
        end_time=stamp(now() + dt.timedelta(days=1)),
        percent=percent,
        cap=100,
        settled=percent,
        counter_id=counter,
    )


class Feed:
    """Admission's feed: rows in order, with their positions."""

    def __init__(self, rows: Sequence[admission_pb2.Crossing]) -> None:
        self.rows = list(rows)
        self.asked = 0

    async def list_crossings(
        self, request: admission_pb2.ListCrossingsRequest, *, timeout: float
    ) -> admission_pb2.ListCrossingsResponse:
        self.asked += 1
        start = request.after.row_id
        page = self.rows[start : start + request.page_size]
        answer = admission_pb2.ListCrossingsResponse(crossings=page)
        if page:
            answer.next.transaction_id, answer.next.row_id = 1, start + len(page)
        return answer
