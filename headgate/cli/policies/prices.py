"""Overrides of prices in files, as `price_files` has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from headgate.api.common.v1 import price_pb2
from headgate.api.gateway.v1 import admin_pb2
from headgate.cli.policies.kinds import Kind
from headgate.cli.price_files import PriceReader, describe_price

if TYPE_CHECKING:
    from collections.abc import Iterable

    from headgate.api.gateway.v1 import policy_admin_pb2
    from headgate.cli.policies.reading import Reader
    from headgate.cli.session import Session

_OVERRIDE: Final = "override"


def _key(price: price_pb2.ModelPrice) -> str:
    name = price.operation or f"{price.provider}/{price.model}"
    return f"{name}@{price.org}" if price.org else name


def _read(reader: Reader, path: str, given: Any) -> price_pb2.ModelPrice:
    prices = PriceReader()
    price = prices.price(path, given)
    reader.wrong += prices.wrong
    if not (price.operation or (price.provider and price.model)):
        reader.refuse(path, "name a provider and a model, or an operation")
    return price


def _fetch(session: Session) -> Iterable[price_pb2.ModelPrice]:
    answer = session.collect(lambda admin: admin.ListPrices, admin_pb2.ListPricesRequest())
    return [each for each in answer.prices if each.source == _OVERRIDE]


def _delete(request: policy_admin_pb2.ApplyPricesRequest, price: price_pb2.ModelPrice) -> None:
    request.deleted_prices.add(
        provider=price.provider, model=price.model, org=price.org, operation=price.operation
    )


PRICES: Final = Kind(
    name="prices",
    key=_key,
    read=_read,
    write=describe_price,
    fetch=_fetch,
    delete=_delete,
)
