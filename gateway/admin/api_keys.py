"""API keys, as staff see them: created, revoked, listed; a secret is shown once."""

from __future__ import annotations

from chassis.errors import Internal, NotFound
from gateway import keys
from gateway.admin.audit import Audit, describe
from gateway.admin.lists import newest_first, take_page
from gateway.admin.wire import WantedKey, parse_key_id, parse_new_key, render_key
from gateway.keys import Principal
from gateway.store import KeyRecord, Store, Transaction
from headgate.api.gateway.v1 import admin_pb2 as pb


class ApiKeys:
    """Creates, revokes and lists keys."""

    def __init__(self, store: Store, audit: Audit) -> None:
        self._store = store
        self._audit = audit

    async def create(
        self, request: pb.CreateApiKeyRequest, who: Principal
    ) -> pb.CreateApiKeyResponse:
        """Creates a key; the answer is the only place where its secret ever is."""
        wanted = parse_new_key(request)
        made = keys.make()
        intent = describe(who, "CreateApiKey", f"key/{made.key_id}", request)
        record = await self._audit.change_own(intent, lambda on: _insert(on, made, wanted))
        return pb.CreateApiKeyResponse(api_key=render_key(record), secret=made.secret)

    async def revoke(
        self, request: pb.RevokeApiKeyRequest, who: Principal
    ) -> pb.RevokeApiKeyResponse:
        """Revokes a key for good. Raises NotFound."""
        key_id = parse_key_id(request)
        intent = describe(who, "RevokeApiKey", f"key/{key_id}", request)
        record = await self._audit.change_own(intent, lambda on: _revoke(on, key_id))
        return pb.RevokeApiKeyResponse(api_key=render_key(record))

    async def list(self, request: pb.ListApiKeysRequest) -> pb.ListApiKeysResponse:
        """Lists keys, newest first."""
        place = newest_first(request, "api_keys")
        rows = await self._store.list_keys(below=place.start, count_max=place.size + 1)
        page, token = take_page(rows, place, lambda row: row.position)
        return pb.ListApiKeysResponse(api_keys=map(render_key, page), next_page_token=token)


async def _insert(on: Transaction, made: keys.NewKey, wanted: WantedKey) -> KeyRecord:
    record = await on.insert_key(
        key_id=made.key_id,
        name=wanted.name,
        role=wanted.role,
        orgs=wanted.orgs,
        key_hash=keys.hash_key(made.secret),
    )
    if record is None:
        # Two random ids of 48 bits met.
        raise Internal
    return record


async def _revoke(on: Transaction, key_id: str) -> KeyRecord:
    record = await on.revoke_key(key_id)
    if record is None:
        raise NotFound("key", key_id)
    return record
