"""Signatures of webhooks are those of the specification."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from services.accounting.domain.signatures import format_secret, parse_secret, sign

KEY = bytes(range(32))
OTHER = bytes(range(32, 64))


def expected(key: bytes, content: bytes) -> str:
    digest = hmac.new(key, content, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def test_a_known_message_has_the_signature_that_a_library_of_receivers_expects() -> None:
    content = b'msg_1.1614265330.{"test": 2432232314}'
    signature = sign(
        [format_secret(KEY)],
        message_id="msg_1",
        timestamp=1_614_265_330,
        body=b'{"test": 2432232314}',
    )

    assert signature == expected(KEY, content)


def test_while_a_secret_is_replaced_both_sign() -> None:
    secrets = [format_secret(OTHER), format_secret(KEY)]
    signature = sign(secrets, message_id="m", timestamp=1, body=b"{}")

    assert signature.split() == [expected(OTHER, b"m.1.{}"), expected(KEY, b"m.1.{}")]


def test_a_secret_is_what_it_was() -> None:
    assert format_secret(KEY).startswith("whsec_")
    assert parse_secret(format_secret(KEY)) == KEY


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_AAAA", "whsec_!", "whsec_" + "A" * 100])
def test_what_is_no_secret_is_refused(secret: str) -> None:
    with pytest.raises(ValueError, match="secret"):
        parse_secret(secret)
