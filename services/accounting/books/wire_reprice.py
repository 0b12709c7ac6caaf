"""Pricing the past again: protobuf to domain with validation, and back."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Final

from chassis import paging
from chassis.checks import Checks
from chassis.errors import FieldViolation, InvalidArgument
from headgate.api.accounting.v1 import books_pb2 as pb
from headgate.api.common.v1 import book_pb2
from services.accounting.books.repricing import Order, Page, Place, Repriced, Scope
from services.accounting.books.wire import optional, parse_span
from services.accounting.wire import INT64_MAX, PROVIDER_LENGTH_MAX
from services.accounting.wire_prices import parse_audit_id

DAY_COUNT_MAX: Final = 92
PAGE_SIZE_DEFAULT: Final = 2_000
PAGE_SIZE_MAX: Final = 10_000


def parse_reprice(request: pb.RepriceRequest) -> Order:
    """Returns which calls to price again. Raises InvalidArgument."""
    checks = Checks()
    start, end = parse_span(
        checks, request.start_time, request.end_time, day_count_max=DAY_COUNT_MAX
    )
    scope = Scope(
        start=start,
        end=end,
        org=optional(checks, "org", request.org),
        provider=optional(checks, "provider", request.provider, PROVIDER_LENGTH_MAX),
        model=optional(checks, "model", request.model),
    )
    version = checks.integer(
        "expected_version",
        request.expected_version,
        minimum=int(request.apply),
        maximum=INT64_MAX if request.apply else 0,
    )
    audit_id = parse_audit_id(checks, request.audit_id)
    checks.raise_if_any()
    expected_version = version if request.apply else None
    return Order(
        scope=scope,
        after=_parse_place(request.page_token, scope, expected_version),
        count=paging.page_size(
            request.page_size, default=PAGE_SIZE_DEFAULT, maximum=PAGE_SIZE_MAX
        ),
        expected_version=expected_version,
        audit_id=audit_id,
    )


def render_reprice(page: Page, order: Order) -> pb.RepriceResponse:
    """Renders the sums by model, and over all of them."""
    models = page.models
    total = Repriced(
        call_count=sum(each.call_count for each in models.values()),
        changed_count=sum(each.changed_count for each in models.values()),
        unpriced_count=sum(each.unpriced_count for each in models.values()),
        before_nanos=sum(each.before_nanos for each in models.values()),
        after_nanos=sum(each.after_nanos for each in models.values()),
    )
    answer = pb.RepriceResponse(
        models=[_render(*name, sums) for name, sums in sorted(models.items())],
        total=_render("", "", total),
        version=page.version,
    )
    reach = order.scope.end
    if page.next is not None:
        answer.next_page_token = _render_place(page.next, order)
        reach = max(order.scope.start, page.next.next_day().admit_time - dt.timedelta(days=1))
    answer.reach_time.FromDatetime(reach)
    return answer


def _parse_place(token: str, scope: Scope, expected_version: int | None) -> Place | None:
    cursor = paging.decode_token(token, **_parameters(scope, expected_version))
    if cursor is None:
        return None
    try:
        admit_time, org, call_id = map(str, cursor)
        place = Place(dt.datetime.fromisoformat(admit_time), org, uuid.UUID(call_id))
        is_within = scope.start <= place.admit_time < scope.end and org.isprintable()
    except (TypeError, ValueError):
        is_within = False
    if not is_within:
        violation = FieldViolation("page_token", "is not one of ours; start again without it")
        raise InvalidArgument([violation])
    return place


def _render_place(place: Place, order: Order) -> str:
    cursor = (place.admit_time.isoformat(), place.org, str(place.call_id))
    return paging.encode_token(cursor, **_parameters(order.scope, order.expected_version))


def _parameters(scope: Scope, expected_version: int | None) -> dict[str, paging.Scalar]:
    return {
        "list": "reprice",
        "start": scope.start.isoformat(),
        "end": scope.end.isoformat(),
        "org": scope.org,
        "provider": scope.provider,
        "model": scope.model,
        "version": expected_version,
    }


def _render(provider: str, model: str, sums: Repriced) -> book_pb2.CorrectionSums:
    return book_pb2.CorrectionSums(
        provider=provider,
        model=model,
        call_count=sums.call_count,
        changed_count=sums.changed_count,
        unpriced_count=sums.unpriced_count,
        before_nanos=sums.before_nanos,
        after_nanos=sums.after_nanos,
    )
