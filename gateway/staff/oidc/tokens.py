"""Which ID tokens are believed: signed by the provider, for us, now, and for this very login."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

# Signatures by a key that the provider alone has. Without one, or by a shared secret: refused.
ALGORITHMS: Final = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
)  # fmt: skip
# By how much the provider's clock may differ from ours.
LEEWAY_SECONDS: Final = 60
TOKEN_LENGTH_MAX: Final = 32_768
# As the standard says.
SUBJECT_LENGTH_MAX: Final = 255


class UntrustedError(ValueError):
    """The provider's answer is not what it has to be; the text says why, for our log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a token has to say."""

    issuer: str
    client_id: str
    nonce: str
    now: dt.datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Whom the provider names."""

    subject: str
    # In lower case. Empty: it says none, or not that it is theirs.
    email: str
    name: str
    groups: tuple[str, ...]


def read_id_token(token: str, keys: KeySet, expected: Expected) -> dict[str, Any]:
    """Returns the claims of a token. Raises UntrustedError."""
    if len(token) > TOKEN_LENGTH_MAX:
        raise UntrustedError("the token is too long")
    registry = jwt.JWTClaimsRegistry(
        now=int(expected.now.timestamp()),
        leeway=LEEWAY_SECONDS,
        iss={"essential": True, "value": expected.issuer},
        aud={"essential": True, "value": expected.client_id},
        nonce={"essential": True, "value": expected.nonce},
        exp={"essential": True},
        iat={"essential": True},
        sub={"essential": True},
    )
    try:
        claims = jwt.decode(token, keys, algorithms=ALGORITHMS).claims
        registry.validate(claims)
    except (JoseError, ValueError) as error:
        raise UntrustedError(f"{type(error).__name__}: {error}"[:200]) from None
    audiences = claims["aud"]
    is_shared = isinstance(audiences, list) and len(audiences) > 1
    if is_shared and claims.get("azp") != expected.client_id:
        raise UntrustedError("the token is for others too, and not issued to us")
    return claims


def read_person(claims: dict[str, Any], groups_claim: str) -> Person:
    """Returns whom claims name. Raises UntrustedError."""
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= SUBJECT_LENGTH_MAX:
        raise UntrustedError("the subject is none")
    email, name = _text(claims, "email").lower(), _text(claims, "name")
    if claims.get("email_verified") is False:
        email = ""
    return Person(subject=subject, email=email, name=name, groups=_texts(claims.get(groups_claim)))


def _text(claims: dict[str, Any], name: str) -> str:
    value = claims.get(name)
    text = value if isinstance(value, str) else ""
    return "".join(each for each in text if each.isprintable()).strip()[:128]


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, Sequence):
        return ()
    return tuple(each for each in value if isinstance(each, str))
