"""Sets of routes and templates between the contract and the gateway's own values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from chassis.checks import Checks
from chassis.errors import InvalidArgument
from gateway.admin.wire_orgs import read_member
from gateway.admin.wire_routes import check_prices, parse_operation, parse_route
from gateway.admin.wire_templates import check_id, check_reason, read_template
from gateway.domain.books import PriceBook
from gateway.domain.calls import Candidate, Route
from gateway.domain.orgs import Org
from gateway.domain.templates import Template
from headgate.api.gateway.v1 import policy_admin_pb2 as pb

MEMBER_COUNT_MAX: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteSet:
    """What is to be written and deleted."""

    routes: Sequence[Route]
    deleted_operations: Sequence[str]
    templates: Sequence[Template]
    deleted_template_ids: Sequence[str]

    orgs: Sequence[Org]

    @property
    def count(self) -> int:
        """How many members it has."""
        deleted = len(self.deleted_operations) + len(self.deleted_template_ids)
        return len(self.routes) + len(self.templates) + len(self.orgs) + deleted


def parse_route_set(request: pb.ApplyRoutesRequest) -> RouteSet:
    """Returns the set. Raises InvalidArgument with every violation."""
    checks = Checks()
    operations, template_ids = request.deleted_operations, request.deleted_template_ids
    count = len(request.routes) + len(request.templates) + len(operations) + len(template_ids)
    count += len(request.orgs)
    if not 1 <= count <= MEMBER_COUNT_MAX:
        checks.violate("routes", f"send 1 to {MEMBER_COUNT_MAX} members, all kinds together")
        checks.raise_if_any()
    routes: list[Route] = []
    for place, each in enumerate(request.routes):
        with _collecting(checks):
            routes.append(parse_route(each, path=f"routes[{place}]."))
    for place, operation in enumerate(operations):
        with _collecting(checks):
            parse_operation(operation, path=f"deleted_operations[{place}]")
    templates = [
        read_template(checks, f"templates[{place}].", each)
        for place, each in enumerate(request.templates)
    ]
    orgs = [
        read_member(checks, f"orgs[{place}].", each) for place, each in enumerate(request.orgs)
    ]
    for place, template_id in enumerate(template_ids):
        check_id(checks, f"deleted_template_ids[{place}]", template_id)
    _check_once(checks, request)
    check_reason(checks, request.reason)
    checks.raise_if_any()
    return RouteSet(
        routes=routes,
        deleted_operations=list(operations),
        templates=templates,
        orgs=orgs,
        deleted_template_ids=list(template_ids),
    )


def check_set_prices(wanted: RouteSet, book: PriceBook, request: pb.ApplyRoutesRequest) -> None:
    """Raises InvalidArgument for every candidate without a price; a trial may say who gets one."""
    checks = Checks()
    priced = frozenset(
        Candidate(provider=each.provider, model=each.model)
        for each in (request.priced_candidates if request.validate_only else ())
    )
    for place, route in enumerate(wanted.routes):
        with _collecting(checks):
            check_prices(route, book, path=f"routes[{place}].", priced=priced)
    checks.raise_if_any()


def _check_once(checks: Checks, request: pb.ApplyRoutesRequest) -> None:
    def listed(field: str, names: Sequence[str]) -> list[tuple[str, str]]:
        return [(f"{field}[{place}]", name) for place, name in enumerate(names)]

    operations = [each.operation for each in request.routes]
    gone = listed("deleted_operations", request.deleted_operations)
    checks.distinct(listed("routes", operations) + gone)
    checks.distinct(listed("orgs", [each.org for each in request.orgs]))
    template_ids = [each.template_id for each in request.templates]
    gone = listed("deleted_template_ids", request.deleted_template_ids)
    checks.distinct(listed("templates", template_ids) + gone)


@contextmanager
def _collecting(checks: Checks) -> Iterator[None]:
    try:
        yield
    except InvalidArgument as error:
        checks.violations += error.violations
