"""Makes a fresh install usable: the keys of the settings, and routes to try it with."""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from chassis import database
from chassis.process import JobError
from gateway import key_store, keys, tokens
from gateway.config import GatewaySettings
from gateway.domain.calls import Candidate, Route
from gateway.key_store import KeyStore, WantedKey
from gateway.principals import Role
from gateway.route_store import Writer, begin_change, put_route
from gateway.staff.store import insert_bootstrap_token
from gateway.store import SCHEMA, Store, Transaction

# Who did it, in the audit log.
ACTOR: Final = "job/bootstrap"
MAX_OUTPUT_TOKENS: Final = 4_096
HOLD_SECONDS: Final = 600
FALLBACK_TEXT: Final = "The assistant is not available right now. Please try again in a minute."
# Candidates in order of preference. All have a price in the shipped catalogue.
ROUTES: Final = {
    "summarize": (("openai", "gpt-4o-mini"), ("anthropic", "claude-3-5-haiku-latest")),
    "chat": (("openai", "gpt-4.1-mini"), ("anthropic", "claude-haiku-4-5")),
    "classify": (("google", "gemini-2.5-flash-lite"), ("openai", "gpt-4o-mini")),
}

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class _WantedKey:
    name: str
    role: Role
    orgs: tuple[str, ...]
    # Whole, secret included.
    key: str

    @property
    def key_id(self) -> str:
        return keys.parse_key_id(self.key) or ""


async def bootstrap(settings: GatewaySettings) -> None:
    """Stores what is missing and changes nothing that is there; a revoked key stays revoked.

    Raises JobError if a key's public part is stored with another secret: that key would not work.
    """
    wanted = _wanted_keys(settings)
    pool = await database.open_pool(
        settings.database_url,
        application_name="gateway-bootstrap",
        schema=SCHEMA,
        size=1,
        statement_cache_size=settings.database_statement_cache_size,
    )
    async with pool:
        store = Store(pool)
        async with store.transaction() as transaction:
            # Everybody else writes to the audit log first, too.
            await transaction.lock_audit()
            key_count = await _store_keys(transaction, wanted)
            route_count = await _store_routes(transaction)
            if settings.bootstrap_staff_token is not None:
                token = settings.bootstrap_staff_token.get_secret_value()
                await insert_bootstrap_token(transaction, tokens.digest(token))
        await _check_secrets(KeyStore(store), wanted)
    log.info("bootstrapped", keys_created=key_count, routes_created=route_count)


def _wanted_keys(settings: GatewaySettings) -> list[_WantedKey]:
    wanted = [
        _WantedKey(name=f"bootstrap {org}", role=Role.BACKEND, orgs=(org,), key=key)
        for org, key in settings.demo_keys().items()
    ]
    if settings.bootstrap_admin_key is not None:
        key = settings.bootstrap_admin_key.get_secret_value()
        wanted.append(_WantedKey(name="bootstrap admin", role=Role.ADMIN, orgs=(), key=key))
    return wanted


async def _store_keys(transaction: Transaction, wanted: Sequence[_WantedKey]) -> int:
    count = 0
    for each in wanted:
        created = await key_store.insert_key(
            transaction,
            key_id=each.key_id,
            wanted=WantedKey(name=each.name, role=each.role, orgs=each.orgs),
            key_hash=keys.hash_key(each.key),
        )
        if created is not None:
            facts = {"name": each.name, "role": each.role.value, "orgs": list(each.orgs)}
            await _audit(transaction, "CreateApiKey", f"key/{each.key_id}", facts)
            count += 1
    return count


async def _check_secrets(store: KeyStore, wanted: Sequence[_WantedKey]) -> None:
    for each in wanted:
        stored = await store.fetch_key(each.key_id)
        if stored is None or not hmac.compare_digest(stored.key_hash, keys.hash_key(each.key)):
            raise JobError(
                f"the key {each.key_id} is stored with another secret; "
                "give it another id, or the secret it was made with"
            )


async def _store_routes(transaction: Transaction) -> int:
    count = 0
    for operation, candidates in ROUTES.items():
        route = Route(
            operation=operation,
            candidates=tuple(Candidate(provider=p, model=m) for p, m in candidates),
            default_max_output_token_count=MAX_OUTPUT_TOKENS,
            fallback_text=FALLBACK_TEXT,
            hold_seconds=HOLD_SECONDS,
        )
        if await begin_change(transaction, operation) is None:
            await put_route(transaction, route, Writer(actor=ACTOR, reason=""))
            facts = {
                "operation": operation,
                "candidates": [str(each) for each in route.candidates],
            }
            await _audit(transaction, "PutRoute", f"route/{operation}", facts)
            count += 1
    return count


async def _audit(
    transaction: Transaction, action: str, target: str, facts: Mapping[str, object]
) -> None:
    audit_id = await transaction.insert_audit_entry(
        actor=ACTOR, action=action, target=target, request_json=json.dumps(facts)
    )
    await transaction.insert_audit_outcome(audit_id, error=None)
