"""Permits: what a gateway signed, and nothing else, is believed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.permits import PERMIT_SIZE_MAX, PermitInvalid, Signer, parse_signing_keys
from headgate.api.common.v1 import call_pb2
from headgate.api.gateway.v1 import permit_pb2
from tests.unit.gateway.calls import CALL_ID

OLD, NEW = b"o" * 32, b"n" * 32
SIGNER = Signer({"new": NEW, "old": OLD})


def make_permit(org: str = "acme") -> permit_pb2.Permit:
    return permit_pb2.Permit(
        org=org,
        call_id=CALL_ID,
        operation="summarize",
        candidate=call_pb2.Candidate(provider="openai", model="gpt-4o-mini"),
        held_nanos=315_000,
        labels={"ticket": "T-1", "agent": "a"},
    )


def test_a_signed_permit_is_read_back_whole() -> None:
    permit = make_permit()

    read = SIGNER.verify(SIGNER.sign(permit))

    assert read == permit
    assert read.signing_key_id == "new"


def test_a_permit_of_an_older_key_is_still_good() -> None:
    signed = Signer({"old": OLD}).sign(make_permit())

    assert SIGNER.verify(signed).signing_key_id == "old"


@pytest.mark.parametrize(
    "signed",
    [
        b"",
        b"x" * 32,
        b"\xff" * 100,
        b"x" * (PERMIT_SIZE_MAX + 1),
        Signer({"stranger": b"s" * 32}).sign(make_permit()),
        Signer({"new": b"s" * 32}).sign(make_permit()),
        SIGNER.sign(make_permit())[:-1],
        SIGNER.sign(make_permit()) + b"\0",
        SIGNER.sign(make_permit("acme"))[:-32] + SIGNER.sign(make_permit("globex"))[-32:],
    ],
    ids=[
        "empty", "too short", "no message", "too long", "unknown key", "same id, other key",
        "cut", "longer", "another permit's signature",
    ],
)  # fmt: skip
def test_other_bytes_are_no_permit(signed: bytes) -> None:
    with pytest.raises(PermitInvalid) as refused:
        SIGNER.verify(signed)
    assert refused.value.reason == "PERMIT_INVALID"


@given(data=st.data())
def test_no_bit_can_be_changed(data: st.DataObject) -> None:
    signed = bytearray(SIGNER.sign(make_permit()))
    position = data.draw(st.integers(0, len(signed) - 1))
    signed[position] ^= 1 << data.draw(st.integers(0, 7))

    with pytest.raises(PermitInvalid):
        SIGNER.verify(bytes(signed))


def test_a_signer_needs_a_key() -> None:
    with pytest.raises(ValueError, match="at least one key"):
        Signer({})


def test_keys_are_read_in_their_order() -> None:
    assert parse_signing_keys(f"new:{'6e' * 32}, old:{'6F' * 32}") == {"new": NEW, "old": OLD}
    assert next(iter(parse_signing_keys(f"b:{'00' * 32},a:{'00' * 32}"))) == "b"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "entry 1 must be `id:hex`"),
        ("a b:00", "entry 1 must be `id:hex`"),
        (f"a:{'00' * 32},a:{'11' * 32}", "entry 2 repeats the id a"),
        ("a:xyz", "entry 1 must hold hexadecimal digits"),
        (f"a:{'00' * 31}", "entry 1 needs at least 32 bytes"),
    ],
)
def test_wrong_keys_are_named_and_not_shown(text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault) as refused:
        parse_signing_keys(text)
    assert "xyz" not in str(refused.value)
