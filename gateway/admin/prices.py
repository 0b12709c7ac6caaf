"""Prices, which are accounting's."""

from __future__ import annotations

import heapq
from typing import Final

from chassis import paging
from chassis.checks import Checks
from gateway import wire
from gateway.admin.audit import Audit, describe
from gateway.admin.lists import PAGE_SIZE_DEFAULT
from gateway.peers import ACCOUNTING, Accounting, call, call_once
from gateway.principals import Principal
from headgate.api.accounting.v1 import accounting_pb2
from headgate.api.common.v1 import price_pb2
from headgate.api.gateway.v1 import admin_pb2 as pb

# Whole before any price: names are never empty.
_BEGINNING: Final = ("", "", "", "")

_Key = tuple[str, str, str, str]


class StoredPrices:
    """Asks accounting for what staff want of prices; accounting checks what is written."""

    def __init__(self, accounting: Accounting, audit: Audit) -> None:
        self._accounting = accounting
        self._audit = audit

    async def put(self, request: pb.PutPriceRequest, who: Principal) -> pb.PutPriceResponse:
        """Writes an override."""
        price = request.price
        # Ours to set, not the caller's, and any nonsense may stand there.
        price.ClearField("source")
        price.ClearField("start_time")

        async def send(audit_id: str) -> accounting_pb2.PutPriceResponse:
            wanted = accounting_pb2.PutPriceRequest(price=price, audit_id=audit_id)
            return await call(ACCOUNTING, self._accounting.stub.PutPrice, wanted)

        target = _target(price.provider or price.operation, price.model, price.org)
        intent = describe(who, "PutPrice", target, request)
        done = await self._audit.change_elsewhere(intent, send)
        return pb.PutPriceResponse(price=done.price, version=done.version)

    async def delete(
        self, request: pb.DeletePriceRequest, who: Principal
    ) -> pb.DeletePriceResponse:
        """Ends an override."""

        async def send(audit_id: str) -> accounting_pb2.DeletePriceResponse:
            wanted = accounting_pb2.DeletePriceRequest(
                provider=request.provider,
                model=request.model,
                org=request.org,
                operation=request.operation,
                audit_id=audit_id,
            )
            return await call_once(ACCOUNTING, self._accounting.stub.DeletePrice, wanted)

        target = _target(request.provider or request.operation, request.model, request.org)
        intent = describe(who, "DeletePrice", target, request)
        done = await self._audit.change_elsewhere(intent, send)
        return pb.DeletePriceResponse(version=done.version)

    async def list(self, request: pb.ListPricesRequest) -> pb.ListPricesResponse:
        """Lists prices in force by provider, model and org. Not one snapshot over the pages."""
        size, start = _read_page(request)
        book = await self._accounting.pull_price_book(0)
        later = (
            price
            for price in book.prices
            if request.provider in ("", price.provider) and _key(price) > start
        )
        page = heapq.nsmallest(size + 1, later, key=_key)
        token = ""
        if len(page) > size:
            page.pop()
            token = paging.encode_token(_key(page[-1]), list="prices", provider=request.provider)
        return pb.ListPricesResponse(prices=page, next_page_token=token)


def _read_page(request: pb.ListPricesRequest) -> tuple[int, _Key]:
    checks = Checks()
    if request.provider:
        checks.text(
            "provider", request.provider, max_length=wire.PROVIDER_LENGTH_MAX, pattern=wire.NAME
        )
    checks.raise_if_any()
    size = paging.page_size(request.page_size, default=PAGE_SIZE_DEFAULT)
    cursor = paging.decode_token(request.page_token, list="prices", provider=request.provider)
    if cursor is None:
        return size, _BEGINNING
    if len(cursor) != len(_BEGINNING) or not all(isinstance(part, str) for part in cursor):
        checks.violate("page_token", "is not one of ours; start again without it")
        checks.raise_if_any()
    provider, model, org, operation = map(str, cursor)
    return size, (provider, model, org, operation)


def _key(price: price_pb2.ModelPrice) -> _Key:
    return (price.provider, price.model, price.org, price.operation)


def _target(provider: str, model: str, org: str) -> str:
    return f"price/{provider}/{model}" + (f"@{org}" if org else "")
