"""The SQL of logins by the OpenID provider. Each function runs the query of its name."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from gateway.store import Store, Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginUnderWay:
    """What was made for one login, and the time by the database's clock."""

    state_hash: bytes
    nonce: str
    verifier: str
    redirect_uri: str
    now: dt.datetime


async def insert_oidc_login(
    store: Store,
    *,
    login_hash: bytes,
    state_hash: bytes,
    nonce: str,
    verifier: str,
    redirect_uri: str,
    seconds: float,
    count_max: int,
) -> dt.datetime | None:
    """Begins a login and returns its end. None: too many are under way."""
    values = (login_hash, state_hash, nonce, verifier, redirect_uri, seconds, count_max)
    end: dt.datetime | None = await store.value("insert_oidc_login", *values)
    return end


async def take_oidc_login(store: Store, login_hash: bytes) -> LoginUnderWay | None:
    """Uses a login up. None: there is none, or it is over."""
    row = await store.row("take_oidc_login", login_hash)
    return None if row is None else LoginUnderWay(**dict(row))


async def fetch_identity(store: Store, issuer: str, subject: str) -> str | None:
    """Returns whose account somebody of the provider has."""
    staff_id: str | None = await store.value("fetch_identity", issuer, subject)
    return staff_id


async def insert_identity(on: Transaction, issuer: str, subject: str, staff_id: str) -> None:
    """Remembers whose account somebody of the provider has."""
    await on.value("insert_identity", issuer, subject, staff_id)
