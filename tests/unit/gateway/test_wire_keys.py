"""Every wrong field of what staff ask of keys is named."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.errors import InvalidArgument
from gateway.admin import wire_keys
from gateway.key_store import KeyRecord
from gateway.principals import Role
from headgate.api.gateway.v1 import admin_pb2 as pb

BACKEND, VIEWER, ADMIN = pb.ROLE_BACKEND, pb.ROLE_VIEWER, pb.ROLE_ADMIN
YEAR_SECONDS = 366 * 86_400
NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def in_seconds(seconds: int, nanos: int = 0) -> Timestamp:
    return Timestamp(seconds=int(dt.datetime.now(dt.UTC).timestamp()) + seconds, nanos=nanos)


def make_key(**values: Any) -> pb.CreateApiKeyRequest:
    defaults: dict[str, Any] = {"name": "ci", "role": BACKEND, "orgs": ["acme"]}
    return pb.CreateApiKeyRequest(**defaults | values)


def fields(refused: pytest.ExceptionInfo[InvalidArgument]) -> list[str]:
    assert all(each.description for each in refused.value.violations)
    return [each.field for each in refused.value.violations]


def test_keys_of_all_roles_are_read() -> None:
    backend = wire_keys.parse_new_key(make_key(operations=["chat"], expire_time=in_seconds(60)))

    assert (backend.orgs, backend.operations) == (("acme",), ("chat",))
    assert backend.expire_time is not None
    assert backend.expire_time > dt.datetime.now(dt.UTC)
    assert wire_keys.parse_new_key(make_key(role=ADMIN, orgs=[])).role is Role.ADMIN
    assert wire_keys.parse_new_key(make_key(role=VIEWER)).orgs == ("acme",)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"name": ""}, ["name"]),
        ({"name": "n" * 129}, ["name"]),
        ({"name": "a\tb"}, ["name"]),
        ({"role": 0}, ["role"]),
        ({"role": 9}, ["role"]),
        ({"orgs": []}, ["orgs"]),
        ({"orgs": [f"o{n}" for n in range(65)]}, ["orgs"]),
        ({"orgs": ["acme", "*"]}, ["orgs[1]"]),
        ({"orgs": ["o" * 65, ""]}, ["orgs[0]", "orgs[1]"]),
        ({"orgs": ["acme", "acme"]}, ["orgs"]),
        ({"role": ADMIN, "operations": ["chat"]}, ["operations"]),
        ({"operations": ["Chat", "x" * 65]}, ["operations[0]", "operations[1]"]),
        ({"operations": [f"o{n}" for n in range(65)]}, ["operations"]),
        ({"expire_time": Timestamp()}, ["expire_time"]),
        ({"expire_time": in_seconds(-10)}, ["expire_time"]),
        ({"expire_time": in_seconds(60, nanos=-1)}, ["expire_time"]),
        ({"expire_time": in_seconds(101 * YEAR_SECONDS)}, ["expire_time"]),
        ({"expire_time": Timestamp(seconds=2**62)}, ["expire_time"]),
    ],
)
def test_every_wrong_field_of_a_key_is_named(values: dict[str, Any], expected: list[str]) -> None:
    with pytest.raises(InvalidArgument) as refused:
        wire_keys.parse_new_key(make_key(**values))
    assert fields(refused) == expected


@pytest.mark.parametrize("key_id", ["", "k" * 33, "k\x00"])
def test_a_wrong_key_id_is_named(key_id: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        wire_keys.parse_key_id(pb.RevokeApiKeyRequest(key_id=key_id))
    assert fields(refused) == ["key_id"]
    with pytest.raises(InvalidArgument) as refused:
        wire_keys.parse_rotation(pb.RotateApiKeyRequest(key_id=key_id))
    assert fields(refused) == ["key_id"]


@pytest.mark.parametrize(
    "overlap",
    [
        Duration(seconds=-1),
        Duration(nanos=-1),
        Duration(nanos=2**31 - 1),
        Duration(seconds=30 * 86_400, nanos=1),
        Duration(seconds=2**62),
    ],
    ids=lambda value: f"{value.seconds}s{value.nanos}",
)
def test_a_wrong_overlap_is_named(overlap: Duration) -> None:
    with pytest.raises(InvalidArgument) as refused:
        wire_keys.parse_rotation(pb.RotateApiKeyRequest(key_id="k", overlap=overlap))
    assert fields(refused) == ["overlap"]


def test_an_overlap_is_a_day_unless_it_is_said() -> None:
    said = pb.RotateApiKeyRequest(key_id="k", overlap=Duration(nanos=500_000_000))

    assert wire_keys.parse_rotation(pb.RotateApiKeyRequest(key_id="k")) == ("k", 86_400)
    assert wire_keys.parse_rotation(said) == ("k", 0.5)


def test_a_filter_names_an_org_or_nothing() -> None:
    assert wire_keys.parse_org(pb.ListApiKeysRequest()) == ""
    with pytest.raises(InvalidArgument) as refused:
        wire_keys.parse_org(pb.ListApiKeysRequest(org="%"))
    assert fields(refused) == ["org"]


def test_a_key_is_rendered_with_what_is_known_of_it() -> None:
    key = KeyRecord(
        key_id="k",
        name="n",
        role=Role.EDITOR,
        orgs=("acme",),
        operations=(),
        create_time=NOW,
        expire_time=NOW,
        revoke_time=None,
        replaces="k_0",
        use_time=NOW,
    )
    shown = wire_keys.render_key(key)

    assert (shown.role, shown.replaces) == (pb.ROLE_EDITOR, "k_0")
    assert shown.last_use_time.ToDatetime(tzinfo=dt.UTC) == NOW
    assert shown.HasField("expire_time")
    assert not shown.HasField("revoke_time")
