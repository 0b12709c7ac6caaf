"""Every wrong field of the RPCs about prices, usage and feed, and callers without the token."""

from __future__ import annotations

import uuid
from typing import Any

import grpc
from pydantic import SecretStr

from chassis.database import Connection
from chassis.peers import open_channel
from headgate.api.accounting.v1 import accounting_pb2 as pb
from headgate.api.accounting.v1 import accounting_pb2_grpc as pb_grpc
from headgate.api.common.v1 import call_pb2, price_pb2
from services.accounting.__main__ import SERVICE_NAME
from services.accounting.config import AccountingSettings
from tests.integration.accounting.refusals import Case, refusal, refused_wrongly
from tests.integration.accounting.replicas import Stub
from tests.integration.accounting.samples import MODEL, PROVIDER, message

INVALID = grpc.StatusCode.INVALID_ARGUMENT


def meter(number: int, nanos: int, *tiers: tuple[int, int]) -> price_pb2.MeterPrice:
    return price_pb2.MeterPrice(
        meter=price_pb2.Meter.ValueType(number),
        nanos_per_million=nanos,
        tiers=[
            price_pb2.PriceTier(input_token_threshold=threshold, nanos_per_million=price)
            for threshold, price in tiers
        ],
    )


BOTH = (meter(1, 5), meter(5, 6))


def put(**changes: Any) -> pb.PutPriceRequest:
    fields: dict[str, Any] = {"provider": PROVIDER, "model": MODEL, "meters": BOTH}
    audit_id = changes.pop("audit_id", str(uuid.uuid4()))
    return pb.PutPriceRequest(price=price_pb2.ModelPrice(**(fields | changes)), audit_id=audit_id)


WRONG_PRICES: list[Case] = [
    ({"provider": ""}, "price.provider", "required"),
    ({"provider": "Open AI"}, "price.provider", "must match"),
    ({"model": ""}, "price.model", "required"),
    ({"model": "m" * 129}, "price.model", "at most 128"),
    ({"org": "o" * 129}, "price.org", "at most 128"),
    ({"audit_id": ""}, "audit_id", "required"),
    ({"audit_id": "a" * 129}, "audit_id", "at most 128"),
    ({"meters": ()}, "price.meters", "INPUT and OUTPUT"),
    ({"meters": (meter(1, 5),)}, "price.meters", "OUTPUT"),
    ({"meters": (*BOTH, meter(1, 7))}, "price.meters", "once"),
    ({"meters": (*BOTH, meter(0, 7))}, "price.meters[2].meter", "required"),
    ({"meters": (*BOTH, meter(77, 7))}, "price.meters[2].meter", "77"),
    ({"meters": (meter(1, -1), BOTH[1])}, "price.meters[0].nanos_per_million", "from 0"),
    ({"meters": (meter(1, 10**15 + 1), BOTH[1])}, "price.meters[0].nanos_per_million", "10000"),
    (
        {"meters": (meter(1, 5, (0, 1)), BOTH[1])},
        "price.meters[0].tiers[0].input_token_threshold",
        "greater than 0",
    ),
    (
        {"meters": (meter(1, 5, (9, 1), (9, 2)), BOTH[1])},
        "price.meters[0].tiers[1].input_token_threshold",
        "greater than 9",
    ),
    (
        {"meters": (meter(1, 5, (9, -1)), BOTH[1])},
        "price.meters[0].tiers[0].nanos_per_million",
        "from 0",
    ),
    (
        {"meters": (meter(1, 5, *[(n, 1) for n in range(1, 18)]), BOTH[1])},
        "price.meters[0].tiers",
        "at most 16",
    ),
]

WRONG_DELETES: list[Case] = [
    ({"provider": ""}, "provider", "required"),
    ({"model": ""}, "model", "required"),
    ({"org": "o" * 129}, "org", "at most 128"),
    ({"audit_id": ""}, "audit_id", "required"),
]

WRONG_QUERIES: list[Case] = [
    ({"start_day": ""}, "start_day", "2026-01-31"),
    ({"start_day": "20260131"}, "start_day", "2026-01-31"),
    ({"start_day": "2026-02-30"}, "start_day", "2026-01-31"),
    ({"end_day": "tomorrow"}, "end_day", "2026-01-31"),
    ({"end_day": "2025-12-31"}, "end_day", "before"),
    ({"end_day": "2027-01-03"}, "end_day", "366"),
    ({"org": "o" * 129}, "org", "at most 128"),
    ({"group_by": [1, 0]}, "group_by[1]", "required"),
    ({"group_by": [42]}, "group_by[0]", "42"),
    ({"source": 9}, "source", "9"),
]


async def test_a_call_that_costs_too_much_names_the_meter(stub: Stub, admin: Connection) -> None:
    await stub.PutPrice(put(meters=(meter(1, 10**15), meter(5, 10**15))))
    dear = message(
        price_version=2,
        meters=call_pb2.UsageMeters(input_token_count=10**9, output_token_count=10**9),
    )
    response = await stub.Record(pb.RecordRequest(reports=[dear, message()]))

    (violation,) = response.results[0].error.violations
    assert violation.field == "reports[0].meters.input_token_count"
    assert response.results[1].booking.first
    assert await admin.fetchval("SELECT count(*) FROM usage_log") == 1


async def test_a_wrong_price_changes_nothing(stub: Stub, admin: Connection) -> None:
    assert await refused_wrongly(WRONG_PRICES, lambda change: stub.PutPrice(put(**change))) == []
    assert await admin.fetchval("SELECT version FROM price_book") == 1


async def test_a_wrong_deletion_changes_nothing(stub: Stub, admin: Connection) -> None:
    good = {"provider": PROVIDER, "model": MODEL, "audit_id": "a-1"}

    def delete(change: dict[str, Any]) -> Any:
        return stub.DeletePrice(pb.DeletePriceRequest(**(good | change)))

    assert await refused_wrongly(WRONG_DELETES, delete) == []
    assert await admin.fetchval("SELECT version FROM price_book") == 1


async def test_a_wrong_query_names_its_field(stub: Stub) -> None:
    good: dict[str, Any] = {"start_day": "2026-01-01", "end_day": "2026-01-31"}

    def ask(change: dict[str, Any]) -> Any:
        return stub.GetUsage(pb.GetUsageRequest(**(good | change)))

    assert await refused_wrongly(WRONG_QUERIES, ask) == []


async def test_a_wrong_position_in_the_feed_is_refused(stub: Stub) -> None:
    cases: list[Case] = [
        ({"page_size": -1}, "page_size", "negative"),
        ({"after": pb.FeedCursor(transaction_id=-1)}, "after.transaction_id", "from 0"),
        ({"after": pb.FeedCursor(row_id=-1)}, "after.row_id", "from 0"),
    ]

    def read(change: dict[str, Any]) -> Any:
        return stub.ListSettlements(pb.ListSettlementsRequest(**change))

    assert await refused_wrongly(cases, read) == []


async def test_a_negative_version_of_the_price_book_is_refused(stub: Stub) -> None:
    error = await refusal(stub.GetPriceBook(pb.GetPriceBookRequest(known_version=-1)))

    assert [each.field for each in error.violations] == ["known_version"]


async def test_text_that_is_no_utf8_is_refused(channel: grpc.aio.Channel) -> None:
    raw = pb.RecordRequest(reports=[message(org="acme")]).SerializeToString()
    send = channel.unary_unary(f"/{SERVICE_NAME}/Record", lambda sent: sent, lambda got: got)

    error = await refusal(send(raw.replace(b"acme", b"\xff\xfe\xff\xfe")))

    assert error.code is INVALID


async def test_nobody_without_the_service_token_gets_in(
    port: int, settings: AccountingSettings
) -> None:
    wrong = settings.model_copy(update={"service_token": SecretStr("w" * 32)})
    async with (
        open_channel((f"127.0.0.1:{port}",), wrong) as stranger,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as nobody,
    ):
        for channel in (stranger, nobody):
            stub: Stub = pb_grpc.AccountingServiceStub(channel)
            for call in (
                stub.Record(pb.RecordRequest(reports=[message()])),
                stub.ListSettlements(pb.ListSettlementsRequest()),
                stub.GetPriceBook(pb.GetPriceBookRequest()),
                stub.PutPrice(put()),
                stub.DeletePrice(pb.DeletePriceRequest()),
                stub.GetUsage(pb.GetUsageRequest()),
            ):
                assert (await refusal(call)).code is grpc.StatusCode.UNAUTHENTICATED
