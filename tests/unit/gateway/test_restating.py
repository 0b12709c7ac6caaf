"""What staff say to the gateway is what it says to accounting."""

from __future__ import annotations

from itertools import chain

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from gateway.admin.restating import restate
from headgate.api.accounting.v1 import (
    alerts_pb2,
    books_pb2,
    channels_pb2,
    forecasts_pb2,
    policies_pb2,
)
from headgate.api.admission.v1 import admission_pb2
from headgate.api.common.v1 import channel_pb2
from headgate.api.gateway.v1 import (
    alert_admin_pb2,
    book_admin_pb2,
    channel_admin_pb2,
    forecast_admin_pb2,
    policy_admin_pb2,
)
from headgate.api.health.v1 import health_pb2

# Contract of staff, and the inner one.
PAIRS = [
    (alert_admin_pb2, alerts_pb2),
    (book_admin_pb2, books_pb2),
    (channel_admin_pb2, channels_pb2),
    (forecast_admin_pb2, forecasts_pb2),
]
# What the gateway adds by itself.
ADDED = {"actor", "audit_id"}


def shape(field: FieldDescriptor, package: str) -> tuple[object, ...]:
    named = field.message_type or field.enum_type
    # Messages of the contract itself are compared by themselves.
    name = named.full_name if named is not None else ""
    return (
        field.type,
        field.is_repeated,
        field.has_presence,
        name.removeprefix(package),
    )


def fields(message: Descriptor) -> dict[str, tuple[object, ...]]:
    return {field.name: shape(field, f"{message.file.package}.") for field in message.fields}


MESSAGES = [
    pytest.param(ours, theirs.DESCRIPTOR.message_types_by_name.get(name), id=name)
    for public, theirs in PAIRS
    for name, ours in public.DESCRIPTOR.message_types_by_name.items()
]
MESSAGES += [
    pytest.param(
        policy_admin_pb2.DESCRIPTOR.message_types_by_name[name],
        theirs.DESCRIPTOR.message_types_by_name[name],
        id=name,
    )
    for theirs, name in (
        (policies_pb2, "ApplyPricesRequest"),
        (policies_pb2, "ApplyPricesResponse"),
        (admission_pb2, "ApplyLimitsRequest"),
        (admission_pb2, "ApplyLimitsResponse"),
        (health_pb2, "ApplyTogglesRequest"),
        (health_pb2, "ApplyTogglesResponse"),
    )
]


# What services tell each other, and staff never do.
INNER = {"RecordEvent"}


@pytest.mark.parametrize(("ours", "theirs"), MESSAGES)
def test_both_contracts_say_the_same(ours: Descriptor, theirs: Descriptor | None) -> None:
    assert theirs is not None
    inner = fields(theirs)

    assert fields(ours) == {name: each for name, each in inner.items() if name not in ADDED}


@pytest.mark.parametrize(("public", "inner"), PAIRS)
def test_every_method_of_the_one_is_in_the_other(public: object, inner: object) -> None:
    names = [
        sorted(
            method.name
            for method in chain.from_iterable(
                service.methods
                for service in file.DESCRIPTOR.services_by_name.values()  # type: ignore[attr-defined]
            )
        )
        for file in (public, inner)
    ]

    assert names[0] == [name for name in names[1] if name not in INNER]


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (alert_admin_pb2.ListAlertsRequest(), alerts_pb2.ListAlertsRequest),
        (alert_admin_pb2.ListAlertsRequest(org="", page_size=3), alerts_pb2.ListAlertsRequest),
        (
            alert_admin_pb2.CreateAlertMuteRequest(reason="x", duration=Duration(seconds=5)),
            alerts_pb2.CreateAlertMuteRequest,
        ),
        (
            channel_admin_pb2.PutChannelRequest(
                channel=channel_pb2.Channel(types=["a", "b"], paused=True)
            ),
            channels_pb2.PutChannelRequest,
        ),
    ],
)
def test_nothing_is_lost_on_the_way(said: Message, kind: type[Message]) -> None:
    assert restate(restate(said, kind), type(said)) == said


def test_what_the_gateway_adds_is_added() -> None:
    said = alert_admin_pb2.ResolveAlertRequest(alert_id=7)
    restated = restate(said, alerts_pb2.ResolveAlertRequest, actor="k_ann", audit_id="a1")

    assert (restated.alert_id, restated.actor, restated.audit_id) == (7, "k_ann", "a1")


def test_parts_that_each_contract_has_for_itself_are_restated_too() -> None:
    said = forecasts_pb2.ForecastCallsResponse(total_nanos=7)
    said.costs.add(call_nanos=7, total_nanos=7)
    said.costs.add()
    restated = restate(said, forecast_admin_pb2.ForecastCallsResponse)

    assert [each.call_nanos for each in restated.costs] == [7, 0]
    assert [each.HasField("total_nanos") for each in restated.costs] == [True, False]
