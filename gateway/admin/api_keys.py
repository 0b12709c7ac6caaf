"""API keys, as staff see them: created, rotated, revoked, listed; a secret is shown once."""

from __future__ import annotations

from chassis.errors import FailedPrecondition, Internal, NotFound
from gateway import key_store, keys
from gateway.admin.audit import Audit, describe
from gateway.admin.lists import newest_first, take_page
from gateway.admin.wire_keys import (
    parse_key_id,
    parse_new_key,
    parse_org,
    parse_rotation,
    render_key,
)
from gateway.key_store import KeyRecord, KeyStore, WantedKey
from gateway.principals import PLATFORM, Principal, Role
from gateway.store import Transaction
from headgate.api.gateway.v1 import admin_pb2 as pb


class ApiKeys:
    """Creates, rotates, revokes and lists keys. What is not in the caller's reach is not found."""

    def __init__(self, keys: KeyStore, audit: Audit) -> None:
        self._keys = keys
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

    async def rotate(
        self, request: pb.RotateApiKeyRequest, who: Principal
    ) -> pb.RotateApiKeyResponse:
        """Makes a key in the place of another one. Raises NotFound, FailedPrecondition."""
        key_id, overlap = parse_rotation(request)
        made = keys.make()

        async def work(on: Transaction) -> tuple[KeyRecord, KeyRecord]:
            await _lock(on, key_id, who, must_be_valid=True)
            record = await key_store.replace_key(
                on, key_id, key_id=made.key_id, key_hash=keys.hash_key(made.secret)
            )
            old = await key_store.expire_key(on, key_id, after_seconds=overlap)
            return _require(record), old

        intent = describe(who, "RotateApiKey", f"key/{key_id}", request)
        record, old = await self._audit.change_own(intent, work)
        return pb.RotateApiKeyResponse(
            api_key=render_key(record), secret=made.secret, replaced=render_key(old)
        )

    async def revoke(
        self, request: pb.RevokeApiKeyRequest, who: Principal
    ) -> pb.RevokeApiKeyResponse:
        """Revokes a key for good. Raises NotFound."""
        key_id = parse_key_id(request)

        async def work(on: Transaction) -> KeyRecord:
            await _lock(on, key_id, who)
            return await key_store.revoke_key(on, key_id)

        intent = describe(who, "RevokeApiKey", f"key/{key_id}", request)
        record = await self._audit.change_own(intent, work)
        return pb.RevokeApiKeyResponse(api_key=render_key(record))

    async def list(self, request: pb.ListApiKeysRequest) -> pb.ListApiKeysResponse:
        """Lists keys, newest first."""
        org = parse_org(request)
        place = newest_first(request, f"api_keys@{org}" if org else "api_keys")
        rows = await self._keys.list_keys(below=place.start, count_max=place.size + 1, org=org)
        page, token = take_page(rows, place, lambda row: row.position)
        return pb.ListApiKeysResponse(api_keys=map(render_key, page), next_page_token=token)


async def _insert(on: Transaction, made: keys.NewKey, wanted: WantedKey) -> KeyRecord:
    record = await key_store.insert_key(
        on, key_id=made.key_id, wanted=wanted, key_hash=keys.hash_key(made.secret)
    )
    return _require(record)


async def _lock(
    on: Transaction, key_id: str, who: Principal, *, must_be_valid: bool = False
) -> None:
    found = await key_store.lock_key(on, key_id)
    if found is None or not _is_reached(found[0], who):
        raise NotFound("key", key_id)
    if must_be_valid and not found[1]:
        raise FailedPrecondition(
            f"the key {key_id} has expired or was revoked; make a new one",
            "KEY_NOT_VALID",
            key=key_id,
        )


def _is_reached(record: KeyRecord, who: Principal) -> bool:
    return all(who.may_act(Role.ADMIN, org) for org in record.orgs or (PLATFORM,))


def _require(record: KeyRecord | None) -> KeyRecord:
    if record is None:
        # Two random ids of 48 bits met.
        raise Internal
    return record
