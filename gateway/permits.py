"""Permits: facts of an admission that a caller carries to its report and cannot change."""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from typing import Final

import grpc
from google.protobuf.message import DecodeError

from chassis.errors import ServiceError
from headgate.api.gateway.v1 import permit_pb2

# Length of an HMAC-SHA256, which follows the serialized facts.
_SIGNATURE_SIZE: Final = 32
PERMIT_SIZE_MAX: Final = 4_096
SIGNING_KEY_BYTES_MIN: Final = 32
_KEY_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,32}")


class PermitInvalid(ServiceError):  # noqa: N818 - named like the status it becomes
    """The permit was not signed by a gateway, or was changed since."""

    def __init__(self) -> None:
        super().__init__(
            "the permit is not one of ours or was changed; send it back as it was given",
            code=grpc.StatusCode.INVALID_ARGUMENT,
            reason="PERMIT_INVALID",
        )


class Signer:
    """Signs with the first key and verifies with all, so that keys can be rotated.

    Does not encrypt: a permit's facts are readable by its holder. Says nothing of expiry: a late
    report is a report.
    """

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        if not keys:
            raise ValueError("a signer needs at least one key")
        self._keys = dict(keys)
        self._signing_key_id, self._signing_key = next(iter(self._keys.items()))

    def sign(self, permit: permit_pb2.Permit) -> bytes:
        """Returns the permit's bytes with their signature; sets the permit's signing key id."""
        permit.signing_key_id = self._signing_key_id
        facts = permit.SerializeToString(deterministic=True)
        return facts + hmac.digest(self._signing_key, facts, "sha256")

    def verify(self, signed: bytes) -> permit_pb2.Permit:
        """Returns the facts that a gateway signed. Raises PermitInvalid for any other bytes."""
        if not _SIGNATURE_SIZE < len(signed) <= PERMIT_SIZE_MAX:
            raise PermitInvalid
        facts, signature = signed[:-_SIGNATURE_SIZE], signed[-_SIGNATURE_SIZE:]
        try:
            permit = permit_pb2.Permit.FromString(facts)
        except DecodeError:
            raise PermitInvalid from None
        key = self._keys.get(permit.signing_key_id)
        # The digest is over the bytes as they came: two encodings of one message differ.
        if key is None or not hmac.compare_digest(hmac.digest(key, facts, "sha256"), signature):
            raise PermitInvalid
        return permit


def parse_signing_keys(text: str) -> dict[str, bytes]:
    """Reads `id:hex[,id:hex]`. Raises ValueError that says what is wrong, without the keys."""
    keys: dict[str, bytes] = {}
    for position, entry in enumerate(text.split(","), start=1):
        key_id, _, digits = entry.strip().partition(":")
        if _KEY_ID.fullmatch(key_id) is None:
            raise ValueError(f"entry {position} must be `id:hex` with an id of letters and digits")
        if key_id in keys:
            raise ValueError(f"entry {position} repeats the id {key_id}")
        try:
            keys[key_id] = bytes.fromhex(digits)
        except ValueError:
            raise ValueError(f"entry {position} must hold hexadecimal digits") from None
        if len(keys[key_id]) < SIGNING_KEY_BYTES_MIN:
            raise ValueError(f"entry {position} needs at least {SIGNING_KEY_BYTES_MIN} bytes")
    return keys
