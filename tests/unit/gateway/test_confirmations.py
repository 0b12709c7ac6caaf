"""Tokens that confirm an order: one actor's, for exactly this order, for a short time."""

from __future__ import annotations

import base64

import pytest

from gateway.confirmations import LIFETIME_SECONDS, ConfirmationRequired, Confirmations

OLD, NEW = b"o" * 32, b"n" * 32


def test_the_actor_s_token_confirms_the_order_until_it_is_too_old() -> None:
    now = 1_000.0
    confirmations = Confirmations({"k": NEW}, now=lambda: now)
    token = confirmations.make("ada", b"stop")
    now += LIFETIME_SECONDS
    confirmations.check(token, "ada", b"stop")
    now += 1

    with pytest.raises(ConfirmationRequired):
        confirmations.check(token, "ada", b"stop")


@pytest.mark.parametrize(
    ("actor", "order"), [("bob", b"stop"), ("ada", b"stop it"), ("adas", b"top")]
)
def test_a_token_is_of_one_person_and_one_order(actor: str, order: bytes) -> None:
    confirmations = Confirmations({"k": NEW})

    with pytest.raises(ConfirmationRequired):
        confirmations.check(confirmations.make("ada", b"stop"), actor, order)


def test_a_token_of_a_key_that_was_rotated_out_of_signing_still_counts() -> None:
    token = Confirmations({"old": OLD}).make("ada", b"stop")

    Confirmations({"new": NEW, "old": OLD}).check(token, "ada", b"stop")
    with pytest.raises(ConfirmationRequired):
        Confirmations({"new": NEW}).check(token, "ada", b"stop")


@pytest.mark.parametrize("token", ["", "x", "????", "é", base64.b64encode(b"x" * 39).decode()])
def test_what_is_no_token_confirms_nothing(token: str) -> None:
    with pytest.raises(ConfirmationRequired):
        Confirmations({"k": NEW}).check(token, "ada", b"stop")


def test_nobody_lengthens_a_token_s_life() -> None:
    token = Confirmations({"k": NEW}, now=lambda: 0.0).make("ada", b"stop")
    raw = base64.urlsafe_b64decode(token)
    longer = base64.urlsafe_b64encode((2**62).to_bytes(8, "big") + raw[8:]).decode()

    with pytest.raises(ConfirmationRequired):
        Confirmations({"k": NEW}, now=lambda: 0.0).check(longer, "ada", b"stop")
